//! Changes of the channel: what organisations propose, who has approved, and what a proposal starts from.

use super::{
    answer::{At, Listing, OnChannel, Paging, page_error, read},
    network::epoch,
    schema::{Described, Hex},
};
use crate::gateway::{
    Shared,
    auth::Caller,
    error::ApiError,
    json::{StrictPath, StrictQuery},
};
use axum::{Router, routing::get};
use dmdl_audit_ledger::{
    channel::ProposalFilter,
    world::{ProposalRow, ProposalState, PrunesBlocks},
};
use dmdl_types::{
    genesis::{ChannelConfig, EpochConfig, Member},
    governance::Change,
    id::{OrgId, TransactionId, UnixMillis},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/channels/{c}/configuration", get(configuration))
        .route("/v1/channels/{c}/proposals", get(proposals))
        .route("/v1/channels/{c}/proposals/{id}", get(proposal))
}

/// The nodes and rules that were decided last: what a proposal changes.
#[derive(Serialize, ToSchema)]
pub(super) struct Configuration {
    /// The epoch that has them; later ones have them too, until they are changed.
    epoch: u64,
    /// The nodes, as docs/spec/genesis.md has them.
    #[schema(value_type = Vec<Described>)]
    members: Vec<Member>,
    /// The rules, as docs/spec/genesis.md has them.
    #[schema(value_type = Described)]
    rules: ChannelConfig,
    /// Whether nodes let old blocks go.
    prunes_blocks: bool,
}

/// The nodes and rules that were decided last, some of which may hold from a later epoch on.
#[utoipa::path(get, path = "/v1/channels/{c}/configuration", tag = "network",
    responses((status = 200, description = "The configuration.", body = Configuration)))]
pub(super) async fn configuration(OnChannel(node): OnChannel, _: Caller) -> Result<At<Configuration>, ApiError> {
    read(&node, |reading| {
        let EpochConfig { epoch, members, channel, .. } = reading.decided()?;
        let prunes_blocks = reading.row::<PrunesBlocks>(&())?.is_some();
        Ok(Configuration { epoch: epoch.get(), members, rules: channel, prunes_blocks })
    })
    .await
}

/// Where a proposal is in its life.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ProposalPhase {
    /// It waits for approvals.
    Open,
    /// Enough organisations approved.
    Accepted,
    /// Its organisation took it back.
    Withdrawn,
}

/// Changes that an organisation proposes.
#[derive(Serialize, ToSchema)]
pub(super) struct Proposal {
    /// The proposal, by the transaction that made it.
    #[schema(value_type = Hex)]
    proposal: TransactionId,
    /// Where it is in its life.
    state: ProposalPhase,
    /// The first epoch in which the changes hold; null unless they are accepted.
    from_epoch: Option<u64>,
    /// The organisation that proposed them.
    #[schema(value_type = String)]
    proposer: OrgId,
    /// The organisations that have approved.
    #[schema(value_type = Vec<String>)]
    approvals: Vec<OrgId>,
    /// How many approvals it takes in this epoch.
    needed: usize,
    /// When it was proposed, in milliseconds since 1970.
    #[schema(value_type = u64)]
    proposed: UnixMillis,
    /// What is to change, as docs/spec/governance.md has it; `change` says which kind it is.
    #[schema(value_type = Vec<Described>)]
    changes: Vec<Change>,
}

impl Proposal {
    fn of(proposal: TransactionId, row: ProposalRow, config: &EpochConfig) -> Self {
        let (state, from_epoch) = match row.state {
            ProposalState::Open => (ProposalPhase::Open, None),
            ProposalState::Accepted { from } => (ProposalPhase::Accepted, Some(from.get())),
            ProposalState::Withdrawn => (ProposalPhase::Withdrawn, None),
        };
        let ProposalRow { changes, proposer, proposed, approvals, .. } = row;
        let needed = config.approvals_needed();
        Self { proposal, state, from_epoch, proposer, approvals, needed, proposed, changes }
    }
}

/// Which proposals are listed.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct ProposalsQuery {
    /// Only those that wait for approvals.
    #[param(value_type = Option<bool>)]
    open: bool,
    /// Most items of the page; 50 if nothing is said.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The proposals to change the channel, in the order of their ids.
#[utoipa::path(get, path = "/v1/channels/{c}/proposals", tag = "network", params(ProposalsQuery),
    responses((status = 200, description = "The proposals.", body = Listing<Proposal>)))]
pub(super) async fn proposals(
    OnChannel(node): OnChannel,
    _: Caller,
    StrictQuery(query): StrictQuery<ProposalsQuery>,
) -> Result<At<Listing<Proposal>>, ApiError> {
    let paging = Paging::new(query.limit.as_deref(), query.cursor.as_deref())?;
    let filter = ProposalFilter { open: query.open };
    read(&node, move |reading| {
        let config = epoch(reading)?;
        let page = reading.proposals(filter, paging.cursor(), paging.limit).map_err(page_error)?;
        Listing::of(page, reading.tip().height, |(id, row)| Ok(Proposal::of(id, row, &config)))
    })
    .await
}

/// A proposal's id.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ProposalPath {
    /// The proposal, by the transaction that made it.
    #[param(value_type = Hex)]
    id: TransactionId,
}

/// A proposal, with its approvals.
#[utoipa::path(get, path = "/v1/channels/{c}/proposals/{id}", tag = "network", params(ProposalPath),
    responses(
        (status = 200, description = "The proposal.", body = Proposal),
        (status = 404, description = "`unknown_proposal`: there is none.")))]
pub(super) async fn proposal(
    OnChannel(node): OnChannel,
    _: Caller,
    StrictPath(path): StrictPath<ProposalPath>,
) -> Result<At<Proposal>, ApiError> {
    read(&node, move |reading| {
        let unknown = || ApiError::new(404, "unknown_proposal", "there is no such proposal on this channel");
        let row = reading.row::<ProposalRow>(&path.id)?.ok_or_else(unknown)?;
        Ok(Proposal::of(path.id, row, &epoch(reading)?))
    })
    .await
}
