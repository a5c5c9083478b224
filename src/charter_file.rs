//! Files of channels: what people write of one, and its charter on its way to all who must approve it.
//!
//! # Source
//! docs/spec/charter.md

use crate::{
    spec::{RoleName, channel_roles},
    text_file::{self, TextFile, TextFileError},
};
use dmdl_types::{
    charter::{Approval, Charter, SignedCharter},
    genesis::{Genesis, Member, NodeRoles, Person},
    id::{ChannelId, ChannelName, NodeId, OrgId},
    limits,
    mdca::{MdcaConfig, Scenario},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, io, path::Path};
use toml::Spanned;

/// Largest such file: a charter is about three times as long in text.
const FILE_BYTES: u64 = 4 * limits::CHARTER_BYTES as u64;

/// A channel as it is described.
#[derive(Debug)]
pub(crate) struct ChannelFile {
    pub(crate) name: ChannelName,
    pub(crate) epoch_blocks: Option<u64>,
    pub(crate) endorsements: Option<u8>,
    pub(crate) custody_threshold: Option<u8>,
    pub(crate) mdca: MdcaConfig,
    /// Sorted by key.
    pub(crate) members: Vec<Member>,
    /// Sorted by key.
    pub(crate) people: Vec<Person>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: ChannelName,
    epoch_blocks: Option<u64>,
    endorsements: Option<u8>,
    custody_threshold: Option<u8>,
    #[serde(default)]
    scenario: Scenario,
    mdca: Option<MdcaConfig>,
    #[serde(default)]
    member: Vec<Spanned<RawMember>>,
    #[serde(default)]
    person: Vec<Person>,
}

/// A node, or all nodes of an organisation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMember {
    node: Option<NodeId>,
    org: Option<OrgId>,
    /// All, if nothing is said.
    roles: Option<BTreeSet<RoleName>>,
}

impl ChannelFile {
    /// Reads what people wrote of a channel among the nodes of a network.
    pub(crate) fn read(path: &Path, genesis: &Genesis) -> Result<Self, TextFileError> {
        let file = TextFile::read(path, FILE_BYTES)?;
        let Raw { name, epoch_blocks, endorsements, custody_threshold, scenario, mdca, member, mut person } =
            file.parse()?;
        let mut members: Vec<Member> = Vec::new();
        for raw in &member {
            let wrong = |reason| file.flaw(raw.span(), reason);
            let RawMember { node, org, roles } = raw.get_ref();
            if node.is_some() == org.is_some() {
                return Err(wrong("a member is named by `node` or by `org`: by one of them"));
            }
            let roles = roles.as_ref().map_or(Ok(NodeRoles::ALL), channel_roles).map_err(wrong)?;
            let before = members.len();
            let meant = |member: &&Member| {
                node.is_none_or(|node| member.node == node) && org.as_ref().is_none_or(|org| member.org == *org)
            };
            members.extend(genesis.members.iter().filter(meant).map(|member| Member { roles, ..member.clone() }));
            if members.len() == before {
                return Err(wrong("the network has no such node or organisation"));
            }
        }
        members.sort();
        person.sort_by_key(|person| person.key);
        let mdca = mdca.unwrap_or_else(|| scenario.config());
        Ok(Self { name, epoch_blocks, endorsements, custody_threshold, mdca, members, people: person })
    }
}

/// A charter with its approvals, as a file that people hand on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CharterFile {
    channel: ChannelId,
    charter: Charter,
    #[serde(default)]
    approvals: Vec<Approval>,
}

impl CharterFile {
    /// Reads such a file; the charter is the one that the file names, and nothing else of it is checked.
    pub(crate) fn read(path: &Path) -> Result<SignedCharter, TextFileError> {
        let file = TextFile::read(path, FILE_BYTES)?;
        let Self { channel, charter, approvals } = file.parse()?;
        if charter.id() != channel {
            return Err(file.flaw(0..0, "the charter was changed: its id is not the one that the file names"));
        }
        Ok(SignedCharter { charter, approvals })
    }

    /// The file's text.
    pub(crate) fn text(charter: &SignedCharter) -> Result<String, toml::ser::Error> {
        let SignedCharter { charter, approvals } = charter.clone();
        let file = Self { channel: charter.id(), charter, approvals };
        let head = "# The charter of a DMDL channel. An admin of each organisation in it approves it, with\n\
                    # `dmdl channel approve FILE`; then one of them founds the channel, with `dmdl channel found FILE`.\n";
        Ok(format!("{head}{}", toml::to_string(&file)?))
    }

    /// Writes the file, in the place of one that is there; on return it is on disk, whole.
    pub(crate) fn save(charter: &SignedCharter, path: &Path) -> io::Result<()> {
        text_file::replace(path, &Self::text(charter).map_err(io::Error::other)?)
    }
}
