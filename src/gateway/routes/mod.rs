//! The routes of a gateway: what people and their programs ask it over HTTP.
//!
//! A route reads the ledger of this node, or passes on what others signed; it decides nothing that matters.
//! What a person may see is decided in one place, [`Reading::visible_record`] and its neighbours, and what
//! they may not see is answered like what does not exist.
//!
//! # Source
//! docs/api.md
//!
//! [`Reading::visible_record`]: dmdl_audit_ledger::channel::Reading::visible_record

mod answer;
mod audit;
mod charters;
mod custodians;
mod documentation;
mod events;
mod front;
mod lineage;
mod links;
mod network;
#[cfg(test)]
mod page;
pub(crate) mod payloads;
mod proposals;
mod query;
mod records;
mod releases;
mod remarks;
mod reputation;
mod requests;
mod schema;
mod transactions;

pub(crate) use documentation::openapi;

use super::Shared;
use axum::Router;
use std::sync::Arc;

/// All routes.
pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .merge(front::router())
        .merge(network::router())
        .merge(charters::router())
        .merge(lineage::router())
        .merge(proposals::router())
        .merge(transactions::router())
        .merge(records::router())
        .merge(requests::router())
        .merge(remarks::router())
        .merge(custodians::router())
        .merge(releases::router())
        .merge(payloads::router())
        .merge(audit::router())
        .merge(events::router())
        .merge(query::router())
}
