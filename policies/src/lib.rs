//! May I? Decides about requests for access and about decryptions, with reasons.
//!
//! [`decide`] is a pure, total function: the same action, request, facts and policy give the same
//! [`Decision`](dmdl_types::access::Decision) on every node, for ever. It reads no clock, does no
//! I/O and computes with integers only. Nothing is allowed unless a rule permits it, and every
//! error is a denial.
//!
//! A policy is a permission of the Data Use Ontology with rules in Cedar. [`ParsedPolicy::parse`]
//! accepts it only if it fits the schema; the rules of the house are added to every policy, and no
//! owner's rule can lift them.
//!
//! # Source
//! docs/spec/policy.md; docs/adr/0008-cedar.md

mod decide;
pub mod duo;
mod error;
mod facts;
mod house;
mod policy;
mod question;
pub mod templates;
mod text;

pub use decide::decide;
pub use error::PolicyError;
pub use facts::{Action, Facts, GrantFacts, Request};
pub use house::{BASE_POLICY, POLICY_ENGINE, base_rules, schema_text};
pub use policy::ParsedPolicy;
