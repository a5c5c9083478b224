//! The story: four organisations, a record, a request, a denial, a revocation, an audit trail.

mod records;

pub(crate) use records::{Record, records};

use crate::{
    client::{CallError, Draft, OpenError, RegisterError, Registered},
    local::{Identity, LocalClient, LocalError, LocalNetwork, Shape},
    network_file::NetworkFile,
    node::{Final, GatewayError},
};
use dmdl_policies::templates::Template;
use dmdl_types::{
    access::{DuoCode, Permission, Purpose, Terms},
    bundle,
    event::Verdict,
    genesis::Role,
    id::{GrantId, IdError},
    invocation::{Authority, Metadata},
};
use std::{
    fs,
    io::{Cursor, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The organisations of the story, and where its people work.
const ORGS: [&str; 4] = ["city-hospital", "university-clinic", "research-institute", "health-registry"];
const OWNER: usize = 0;
const RESEARCHER: usize = 2;
const OFFICER: usize = 3;
/// How long any step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the story did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StoryError {
    /// The records cannot be read.
    #[error("the records in `{folder}` cannot be used: {reason}")]
    Samples {
        /// The folder.
        folder: String,
        /// Why.
        reason: String,
    },
    /// A name is none.
    #[error(transparent)]
    Name(#[from] IdError),
    /// The network did not come up.
    #[error(transparent)]
    Network(#[from] LocalError),
    /// A gateway could not help.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// A call came to nothing.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A record was not registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A record was not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file cannot be written.
    #[error("cannot write: {0}")]
    Storage(#[from] std::io::Error),
    /// Something happened that must not.
    #[error("this must not happen: {0}")]
    Surprise(String),
}

/// What the story leaves behind.
#[derive(Debug)]
pub(crate) struct Told {
    /// The exported trail.
    pub bundle: PathBuf,
    /// The pinned network.
    pub network: PathBuf,
    /// How many records were shared.
    pub records: usize,
    /// How many events the trail has.
    pub events: usize,
}

/// The people of the story, each at a gateway of their own organisation.
struct People {
    owner: LocalClient,
    researcher: LocalClient,
    officer: LocalClient,
}

/// Tells the story in `dir`, line by line, and leaves its evidence there.
///
/// # Errors
/// [`StoryError`] says where it ended.
pub(crate) fn tell(dir: &Path, records: Vec<Record>, say: &dyn Fn(&str)) -> Result<Told, StoryError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let nodes = dir.join("nodes");
    // A demo begins anew each time: what an earlier one left here would belong to another network.
    if nodes.exists() {
        fs::remove_dir_all(&nodes)?;
    }
    let owner = Identity::new(ORGS[OWNER], "owner", Role::Owner)?;
    let researcher = Identity::new(ORGS[RESEARCHER], "researcher", Role::Researcher)?;
    let officer = Identity::new(ORGS[OFFICER], "officer", Role::Officer)?;
    let mut network = LocalNetwork::create(&nodes, &ORGS, &[&owner, &researcher, &officer], Shape::default())?;

    let begun = Instant::now();
    network.start_all()?;
    network.wait_ready(PATIENCE)?;
    say(&format!("Network {} is up in {} ms:", short(network.genesis().id()), begun.elapsed().as_millis()));
    for (org, node, address) in network.seats() {
        say(&format!(
            "  {:<20} node {} at {address}: endorser, orderer, committer, custodian",
            org.as_str(),
            short(node)
        ));
    }
    let pin = dir.join("network.toml");
    let text = NetworkFile::of(network.genesis().clone()).to_text();
    fs::write(&pin, text.map_err(|error| StoryError::Surprise(error.to_string()))?)?;

    let at = |position: usize, identity: &Identity| {
        let down = || StoryError::Surprise("a node is down".to_owned());
        network.client(position, identity, PATIENCE).ok_or_else(down)
    };
    let people =
        People { owner: at(OWNER, &owner)?, researcher: at(RESEARCHER, &researcher)?, officer: at(OFFICER, &officer)? };
    let count = records.len();
    let exported = runtime.block_on(async {
        let shared = people.share(records, say).await?;
        people.deny(&shared, say).await?;
        people.revoke(&shared, say).await?;
        people.export(say).await
    })?;
    let file = dir.join("trail.bundle");
    write_new(&file, &exported)?;
    let events = audit(&exported, &network, say)?;
    Ok(Told { bundle: file, network: pin, records: count, events })
}

/// A record that was shared: who may open it by which grant.
struct Shared {
    registered: Registered,
    grant: GrantId,
}

impl People {
    /// Registers the records, asks for each, and opens each: the first in detail.
    async fn share(&self, records: Vec<Record>, say: &dyn Fn(&str)) -> Result<Vec<Shared>, StoryError> {
        say("");
        let begun = Instant::now();
        let registered = futures::future::join_all(records.iter().map(|record| self.register(record))).await;
        let mut shared = Vec::new();
        for (record, registered) in records.iter().zip(registered) {
            let registered = registered?;
            say(&format!(
                "The owner sealed {} ({} bytes) and registered it as record {}: {} of {} custodians open it.",
                record.name,
                record.bytes.len(),
                short(registered.record),
                registered.threshold,
                registered.custodians.len(),
            ));
            if !self.owner.wait_active(registered.record, registered.version, PATIENCE).await? {
                return Err(StoryError::Surprise("a record did not become active".to_owned()));
            }
            shared.push(registered);
        }
        say(&format!(
            "All are active: their custodians verified and acknowledged the shares ({} ms).",
            begun.elapsed().as_millis()
        ));

        say("");
        let mut opened = Vec::new();
        for (record, registered) in records.iter().zip(shared) {
            let begun = Instant::now();
            let asked = self.researcher.request(registered.record, terms(DuoCode::Hmb), "hypertension study").await?;
            let grant = granted(&asked)?;
            let authority = Authority::Grant(grant);
            let opening = self.researcher.decrypt(registered.record, registered.version, authority).await?;
            let mut plaintext = Vec::new();
            let result = self.researcher.open(&opening, &mut plaintext).await?;
            if plaintext != record.bytes {
                return Err(StoryError::Surprise("a record opened to other bytes".to_owned()));
            }
            say(&format!(
                "The researcher asked for {} for biomedical research: ALLOW ({}). Block {}: decryption {}; shares of {} opened it, byte for byte ({} ms).",
                record.name,
                crate::client::reasons(&asked.event.outcome.reasons),
                opening.done.event.height,
                short(result.transaction),
                result.custodians.len(),
                begun.elapsed().as_millis(),
            ));
            opened.push(Shared { registered, grant });
        }
        Ok(opened)
    }

    async fn register(&self, record: &Record) -> Result<Registered, RegisterError> {
        let permission = Permission { code: DuoCode::Hmb, diseases: Vec::new() };
        let metadata = Metadata { media_type: record.media_type.to_owned(), subject: None, listed: true };
        let draft = Draft::new(metadata, Some(Template::ResearchAuto.document(permission)));
        self.owner.register(&record.bytes[..], Cursor::new(Vec::new()), draft, &|_| ()).await
    }

    /// A purpose outside the permission: denied, and the denial is on the ledger.
    async fn deny(&self, shared: &[Shared], say: &dyn Fn(&str)) -> Result<(), StoryError> {
        let first = first(shared)?;
        let asked = self.researcher.request(first.registered.record, terms(DuoCode::Poa), "ancestry study").await?;
        if asked.event.outcome.verdict != Verdict::Deny {
            return Err(StoryError::Surprise("a purpose outside the permission was not denied".to_owned()));
        }
        say("");
        say(&format!(
            "The researcher asked for ancestry research: DENY ({}), written to the ledger in block {}.",
            crate::client::reasons(&asked.event.outcome.reasons),
            asked.event.height,
        ));
        Ok(())
    }

    /// A grant is revoked: nothing ordered after that opens the record.
    async fn revoke(&self, shared: &[Shared], say: &dyn Fn(&str)) -> Result<(), StoryError> {
        let Shared { registered, grant } = first(shared)?;
        let revoked = self.owner.revoke(*grant).await?;
        say(&format!("The owner revoked grant {} in block {}.", short(grant), revoked.event.height));
        let again = self.researcher.decrypt(registered.record, registered.version, Authority::Grant(*grant)).await;
        match again {
            Err(OpenError::Denied(reasons)) => {
                say(&format!("The researcher tried to open the record again: DENY ({reasons})."));
                Ok(())
            }
            Err(error) => Err(error.into()),
            Ok(_) => Err(StoryError::Surprise("a revoked grant still opened a record".to_owned())),
        }
    }

    /// The officer exports everything up to now.
    async fn export(&self, say: &dyn Fn(&str)) -> Result<Vec<u8>, StoryError> {
        let gateway = self.officer.gateway();
        let bundle = gateway.export(None, gateway.log_size(), PATIENCE).await?;
        let bytes = bundle.to_bytes();
        say("");
        say(&format!("The officer exported the trail: {} bytes, proved from the pinned genesis.", bytes.len()));
        Ok(bytes)
    }
}

/// Verifies the trail offline, and that a changed copy is refused.
fn audit(exported: &[u8], network: &LocalNetwork, say: &dyn Fn(&str)) -> Result<usize, StoryError> {
    let report = bundle::verify(exported, &network.genesis().founding())
        .map_err(|error| StoryError::Surprise(format!("the exported trail does not verify: {error}")))?;
    let count = |verdict| report.events.iter().filter(|(_, event)| event.outcome.verdict == verdict).count();
    say(&format!(
        "Verified offline: {} events ({} allowed, {} denied), finalized by {} orderers, cosigned by {} committers.",
        report.events.len(),
        count(Verdict::Allow),
        count(Verdict::Deny),
        report.signers.len(),
        report.cosigners.len(),
    ));
    let mut changed = exported.to_vec();
    let middle = changed.len() / 2;
    if let Some(byte) = changed.get_mut(middle) {
        *byte ^= 1;
    }
    match bundle::verify(&changed, &network.genesis().founding()) {
        Err(error) => say(&format!("A copy with byte {middle} changed is refused: {error}.")),
        Ok(_) => return Err(StoryError::Surprise("a changed trail was accepted".to_owned())),
    }
    Ok(report.events.len())
}

fn granted(asked: &Final) -> Result<GrantId, StoryError> {
    let outcome = &asked.event.outcome;
    let denied = || StoryError::Surprise(format!("denied: {}", crate::client::reasons(&outcome.reasons)));
    outcome.grant.filter(|_| outcome.verdict == Verdict::Allow).ok_or_else(denied)
}

fn first(shared: &[Shared]) -> Result<&Shared, StoryError> {
    shared.first().ok_or_else(|| StoryError::Surprise("there is no record".to_owned()))
}

fn terms(code: DuoCode) -> Terms {
    Terms {
        purpose: Purpose { code, disease: None },
        days: 30,
        uses: 5,
        non_profit: true,
        commercial: false,
        country: None,
        project: None,
        ethics: None,
    }
}

/// Writes a file as a whole or not at all.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), StoryError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(fs::File::open(folder)?.sync_all()?)
}

/// Enough of an id to tell it from others on a screen.
fn short(id: impl std::fmt::Display) -> String {
    id.to_string().chars().take(12).collect()
}
