//! The network as it stands: its channels, how one stands, its nodes and people.

use super::{
    answer::{At, Items, Listing, OnChannel, Paging, now, page_error, read},
    reputation::{self, Reputation},
    schema::{Hex, Peer, PersonRole},
};
use crate::gateway::{
    RealNode, Shared,
    auth::{Caller, MaybeCaller},
    error::ApiError,
    json::{StrictPath, StrictQuery},
};
use axum::{Json, Router, extract::State, routing::get};
use dmdl_audit_ledger::{
    channel::{PersonFilter, Reading},
    commitment::state::StateHash,
    store::{RocksStore, StoreError},
    world::{PersonRow, PersonStatus},
};
use dmdl_types::{
    genesis::{EpochConfig, Role},
    id::{BlockDigest, ChannelId, DisplayName, Height, NetworkId, NodeId, OrgId, UnixMillis},
    sign::PublicKey,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/channels", get(channels))
        .route("/v1/channels/{c}/status", get(status))
        .route("/v1/channels/{c}/members", get(members))
        .route("/v1/channels/{c}/reputation", get(reputation::reputation))
        .route("/v1/channels/{c}/persons", get(persons))
        .route("/v1/channels/{c}/persons/{key}", get(person))
}

/// The channels of a network.
#[derive(Serialize, ToSchema)]
pub(super) struct Channels {
    /// The network, by the hash of its genesis document.
    #[schema(value_type = Hex)]
    network: NetworkId,
    /// Its channels.
    items: Vec<ChannelName>,
}

/// A channel.
#[derive(Serialize, ToSchema)]
pub(super) struct ChannelName {
    /// What people call it.
    #[schema(example = "main")]
    pub(super) name: String,
    /// Its id.
    #[schema(value_type = Hex)]
    pub(super) id: ChannelId,
}

/// The channels of this gateway that the caller is enrolled in, and the network's first one, which everybody knows of.
#[utoipa::path(get, path = "/v1/channels", tag = "network", security(()),
    responses((status = 200, description = "The channels.", body = Channels)))]
pub(super) async fn channels(
    caller: MaybeCaller,
    State(shared): State<Arc<Shared>>,
) -> Result<Json<Channels>, ApiError> {
    let mut items = Vec::new();
    for node in shared.host.nodes() {
        if shared.may_know_of(&node, caller.0.as_ref().map(|caller| caller.key))? {
            let founding = node.channel().founding();
            items.push(ChannelName { name: founding.channel.name.to_string(), id: founding.domain.channel });
        }
    }
    Ok(Json(Channels { network: shared.network, items }))
}

/// A channel as this node has executed it.
#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    /// The network.
    #[schema(value_type = Hex)]
    pub(super) network: NetworkId,
    /// Whether its genesis lets one organisation run everything: for trying, not for patients.
    pub(super) single_org_demo: bool,
    /// What people call the channel.
    #[schema(example = "main")]
    pub(super) name: String,
    /// The channel's id.
    #[schema(value_type = Hex)]
    id: ChannelId,
    /// Height of the last executed block.
    pub(super) height: u64,
    /// The highest block that is known to be final: a node that catches up has not executed it yet.
    final_height: u64,
    /// Its digest.
    #[schema(value_type = Hex)]
    pub(super) block: BlockDigest,
    /// The hash of all state after it.
    #[schema(value_type = Hex)]
    pub(super) state_root: String,
    /// Its epoch.
    pub(super) epoch: u64,
    /// Whether this node votes: a member that lost its votes follows until it is safe to vote again.
    votes: bool,
    /// The view that it became final in; null for the first block.
    pub(super) view: Option<u64>,
    /// Who proposed it; null for the first block.
    #[schema(value_type = Option<Hex>)]
    pub(super) primary: Option<NodeId>,
    /// Who may propose in this epoch, in the order of their turns.
    #[schema(value_type = Vec<Hex>)]
    qualified: Vec<NodeId>,
    /// How each orderer stands, the one that is first in turn first.
    reputation: Vec<Reputation>,
    /// The other nodes of the channel.
    pub(super) peers: Vec<Peer>,
    /// How many events the audit log has.
    pub(super) log_size: u64,
    /// Time of the block, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub(super) time: UnixMillis,
}

/// How the channel stands.
#[utoipa::path(get, path = "/v1/channels/{c}/status", tag = "network", security(()),
    responses((status = 200, description = "The channel.", body = Status)))]
pub(super) async fn status(OnChannel(node): OnChannel) -> Result<At<Status>, ApiError> {
    standing(&node).await
}

/// How the channel stands by this node's ledger.
pub(super) async fn standing(node: &RealNode) -> Result<At<Status>, ApiError> {
    let own = Arc::clone(node);
    let mut at = read(node, move |reading| {
        let (channel, tip) = (own.channel(), reading.tip());
        let config = epoch(reading)?;
        Ok(Status {
            network: tip.domain.network,
            single_org_demo: channel.founding().single_org_demo,
            name: channel.founding().channel.name.to_string(),
            id: tip.domain.channel,
            height: tip.height.get(),
            final_height: tip.height.get(),
            block: tip.block,
            state_root: hex::encode(StateHash::load(reading.rows())?.root()),
            epoch: tip.epoch.get(),
            votes: !channel.follows() && config.member(own.id()).is_some_and(|member| member.roles.orderer),
            view: None,
            primary: None,
            qualified: config.qualified.clone(),
            reputation: reputation::scores(reading, &config)?,
            peers: config.members.iter().filter(|member| member.node != own.id()).map(Peer::from).collect(),
            log_size: tip.size,
            time: tip.time,
        })
    })
    .await?;
    at.body.final_height = node.newest_height().await.get().max(at.body.final_height);
    if at.height > Height::new(0)
        && let Some(chain) = node.chain()
        && let Some(block) = chain.block(at.height).await
    {
        at.body.view = Some(block.header().view.get());
        at.body.primary = Some(block.header().primary);
    }
    Ok(at)
}

/// A node with its keys.
#[derive(Serialize, ToSchema)]
pub(super) struct MemberShown {
    /// The node, by the key of its connections and votes.
    #[schema(value_type = Hex)]
    node: NodeId,
    /// Whose node.
    #[schema(value_type = String)]
    org: OrgId,
    /// Its roles.
    #[schema(example = json!(["endorser", "orderer", "committer", "custodian"]))]
    roles: Vec<&'static str>,
    /// The key of its checkpoint cosignatures.
    #[schema(value_type = Hex)]
    cosigning_key: PublicKey,
}

/// The nodes of the channel.
#[utoipa::path(get, path = "/v1/channels/{c}/members", tag = "network", security(()),
    responses((status = 200, description = "The nodes.", body = Items<MemberShown>)))]
pub(super) async fn members(OnChannel(node): OnChannel) -> Result<At<Items<MemberShown>>, ApiError> {
    let config = node.channel().config()?;
    let shown = |member: &dmdl_types::genesis::Member| MemberShown {
        node: member.node,
        org: member.org.clone(),
        roles: member.roles.names().collect(),
        cosigning_key: member.cosigning_key,
    };
    Ok(now(&node, Items { items: config.members.iter().map(shown).collect() }))
}

pub(super) fn epoch(reading: &Reading<'_, RocksStore>) -> Result<EpochConfig, ApiError> {
    let missing = || StoreError::Corrupt("the current configuration is missing".into());
    Ok(reading.row::<EpochConfig>(&reading.tip().epoch)?.ok_or_else(missing)?)
}

/// The key of a person.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct PersonPath {
    /// The person.
    #[param(value_type = Hex)]
    key: PublicKey,
}

/// A person of the channel.
#[derive(Serialize, ToSchema)]
pub(super) struct PersonShown {
    /// The key that the person signs with.
    #[schema(value_type = Hex)]
    key: PublicKey,
    /// The organisation.
    #[schema(value_type = String)]
    org: OrgId,
    /// What the organisation calls the person: a staff name, never a patient's.
    #[schema(value_type = String)]
    name: DisplayName,
    /// What the person may do.
    #[schema(value_type = PersonRole)]
    role: Role,
    /// Whether the person may act.
    status: MayAct,
}

impl From<PersonRow> for PersonShown {
    fn from(PersonRow { person, status, .. }: PersonRow) -> Self {
        let status = match status {
            PersonStatus::Active => MayAct::Active,
            PersonStatus::Suspended => MayAct::Suspended,
            PersonStatus::Revoked => MayAct::Revoked,
        };
        Self { key: person.key, org: person.org, name: person.name, role: person.role, status }
    }
}

/// Whether a person may act.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum MayAct {
    /// They may.
    Active,
    /// Not until reinstated.
    Suspended,
    /// Never again.
    Revoked,
}

/// A person by their key.
#[utoipa::path(get, path = "/v1/channels/{c}/persons/{key}", tag = "network", params(PersonPath),
    responses(
        (status = 200, description = "The person.", body = PersonShown),
        (status = 404, description = "`unknown_person`: nobody is enrolled with this key.")))]
pub(super) async fn person(
    OnChannel(node): OnChannel,
    _: Caller,
    StrictPath(path): StrictPath<PersonPath>,
) -> Result<At<PersonShown>, ApiError> {
    read(&node, move |reading| {
        let unknown = || ApiError::new(404, "unknown_person", "nobody is enrolled with this key");
        Ok(PersonShown::from(reading.row::<PersonRow>(&path.key)?.ok_or_else(unknown)?))
    })
    .await
}

/// Which people are listed.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct PersonsQuery {
    /// Those of this organisation.
    #[param(value_type = Option<String>, pattern = "^[a-z][a-z0-9-]{0,63}$")]
    org: Option<OrgId>,
    /// Those with this role.
    #[param(value_type = Option<PersonRole>)]
    role: Option<Role>,
    /// Most items of the page; 50 if nothing is said.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The people of the channel, in the order of their keys.
#[utoipa::path(get, path = "/v1/channels/{c}/persons", tag = "network", params(PersonsQuery),
    responses((status = 200, description = "The people.", body = Listing<PersonShown>)))]
pub(super) async fn persons(
    OnChannel(node): OnChannel,
    _: Caller,
    StrictQuery(query): StrictQuery<PersonsQuery>,
) -> Result<At<Listing<PersonShown>>, ApiError> {
    let paging = Paging::new(query.limit.as_deref(), query.cursor.as_deref())?;
    let filter = PersonFilter { org: query.org, role: query.role };
    read(&node, move |reading| {
        let page = reading.people(&filter, paging.cursor(), paging.limit).map_err(page_error)?;
        Listing::of(page, reading.tip().height, |row| Ok(PersonShown::from(row)))
    })
    .await
}
