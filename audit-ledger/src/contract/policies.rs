//! Parsed policies, so that a policy is parsed once and not for each decision.

use dmdl_policies::{ParsedPolicy, PolicyError};
use dmdl_types::{access::PolicyDocument, id::PolicyId};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Policies that are remembered; beyond them all are forgotten, and parsed again when they are used.
const POLICIES_MAX: usize = 1024;

/// Parsed policies by the hash of their document: what comes out never depends on what is inside.
#[derive(Debug, Default)]
pub struct Policies(Mutex<BTreeMap<PolicyId, Arc<ParsedPolicy>>>);

impl Policies {
    /// The policy of a document.
    ///
    /// # Errors
    /// [`PolicyError`] when the document is no valid policy.
    pub fn parse(&self, document: &PolicyDocument) -> Result<Arc<ParsedPolicy>, PolicyError> {
        let id = document.id();
        if let Some(known) = self.known(id) {
            return Ok(known);
        }
        let parsed = Arc::new(ParsedPolicy::parse(document)?);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= POLICIES_MAX {
            known.clear();
        }
        known.insert(id, Arc::clone(&parsed));
        Ok(parsed)
    }

    /// The policy with this id, if it was parsed before.
    #[must_use]
    pub fn known(&self, id: PolicyId) -> Option<Arc<ParsedPolicy>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}
