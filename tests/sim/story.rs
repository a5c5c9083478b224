//! What happens in a run: records, requests, decryptions, a revocation, and a crash in between.

use super::{
    checks::{Checker, untold},
    cluster::{Cluster, SimNode},
    people::PATIENCE,
    people::{Person, SimClient, Told},
};
use commonware_runtime::Clock as _;
use dmdl::client::{Draft, OpenError, Opening};
use dmdl_policies::templates::Template;
use dmdl_types::{
    access::{DuoCode, Permission, Purpose, Terms},
    bundle,
    event::{Action, Verdict},
    genesis::quorum,
    id::{GrantId, Height, NodeId, RecordId, RecordVersion, TransactionId},
    invocation::{Authority, Metadata},
};
use std::{cell::Cell, collections::BTreeSet, io::Cursor, time::Duration};

pub(crate) const VERSION: RecordVersion = RecordVersion::new(1);
/// Uses of a grant that is used up.
const USES: u32 = 2;

/// An owner with a record, and a researcher who wants it.
pub(crate) struct Pair<'a> {
    pub(crate) owner: Person<'a>,
    pub(crate) researcher: Person<'a>,
    pub(crate) plaintext: Vec<u8>,
}

impl Pair<'_> {
    /// Everything that happens to one record.
    pub(crate) async fn act(&self, calm: &Cell<bool>) {
        let record = self.register().await;
        let grant = self.ask(record, DuoCode::Hmb, USES).await.expect("biomedical research is permitted");
        assert_eq!(self.ask(record, DuoCode::Poa, USES).await, None, "ancestry research is not permitted");
        self.use_up(record, grant).await;
        let grant = self.ask(record, DuoCode::Hmb, 8).await.expect("biomedical research is permitted");
        self.revoke(record, grant).await;
        let grant = self.ask(record, DuoCode::Hmb, 8).await.expect("biomedical research is permitted");
        let opening = self.decrypt(record, grant).await.expect("a new grant allows");
        self.live_through(record, &opening, calm).await;
        let revoked = self.revoke(record, grant).await;
        self.ended_everywhere(revoked, &opening).await;
    }

    /// Registers until the record is active: a crash may take a share with it.
    pub(crate) async fn register(&self) -> RecordId {
        loop {
            let (record, active) = self.owner.insist("register", async |client| self.register_at(client).await).await;
            if active {
                self.owner.told.active.borrow_mut().push(record);
                return record;
            }
        }
    }

    async fn register_at(&self, client: &SimClient) -> Result<(RecordId, bool), String> {
        let permission = Permission { code: DuoCode::Hmb, diseases: Vec::new() };
        let metadata = Metadata { media_type: "application/dicom".to_owned(), subject: None, listed: true };
        let draft = Draft::new(metadata, Some(Template::ResearchAuto.document(permission)));
        let done = client.register(&self.plaintext[..], Cursor::new(Vec::new()), draft, &|_| ()).await;
        let done = done.map_err(|error| error.to_string())?;
        self.owner.told.is_final(&done.done);
        let active =
            client.wait_active(done.record, done.version, PATIENCE).await.map_err(|error| error.to_string())?;
        Ok((done.record, active))
    }

    /// Asks for a grant; none is a denial.
    async fn ask(&self, record: RecordId, code: DuoCode, uses: u32) -> Option<GrantId> {
        let terms = Terms {
            purpose: Purpose { code, disease: None },
            days: 30,
            uses,
            non_profit: true,
            commercial: false,
            country: None,
            project: None,
            ethics: None,
        };
        let ask = async |client: &SimClient| client.request(record, terms.clone(), "a study").await;
        let done = self.researcher.insist("ask", ask).await;
        self.researcher.told.is_final(&done);
        let outcome = done.event.outcome;
        assert!(matches!(outcome.verdict, Verdict::Allow | Verdict::Deny), "{:?}", outcome.reasons);
        outcome.grant.filter(|_| outcome.verdict == Verdict::Allow)
    }

    /// One decryption, handed to two gateways at once: it is executed once. None is a denial.
    async fn decrypt(&self, record: RecordId, grant: GrantId) -> Option<Opening> {
        let sign = async |client: &SimClient| {
            if self.is_far_behind(client.gateway()) {
                return Err("the node has only begun to catch up".to_owned());
            }
            let prepared = client.prepare(record, VERSION, Authority::Grant(grant)).await;
            prepared.map_err(|error| error.to_string())
        };
        let prepared = self.researcher.insist("sign", sign).await;
        let order = async |client: &SimClient| match client.order(&prepared).await {
            Ok(opening) => Ok(Some(opening)),
            Err(OpenError::Denied(_)) => Ok(None),
            Err(error) => Err(error),
        };
        let elsewhere = self.researcher.attempt(self.researcher.home + 1, order);
        let (elsewhere, opening) = futures::join!(elsewhere, self.researcher.insist("decrypt", order));
        if let Some(Ok(elsewhere)) = elsewhere {
            let done = |opening: Option<&Opening>| opening.map(|opening| opening.done.clone());
            assert_eq!(done(elsewhere.as_ref()), done(opening.as_ref()), "two gateways, two outcomes");
        }
        match &opening {
            Some(opening) => self.researcher.told.is_final(&opening.done),
            None => {
                self.researcher.told.denied.borrow_mut().push(prepared.id());
                self.no_share_for(prepared.id()).await;
            }
        }
        opening
    }

    /// Whether what is signed at a node would have expired for the others before they see it.
    fn is_far_behind(&self, node: &SimNode) -> bool {
        let others = self.researcher.cluster.members().filter_map(|seat| seat.up.get());
        let highest = others.map(|other| other.channel().tip().height.get()).max();
        node.channel().tip().height.get() + 100 < highest.unwrap_or_default()
    }

    /// More decryptions at once than the grant has uses: as many are allowed as it has.
    async fn use_up(&self, record: RecordId, grant: GrantId) {
        let many = (0..=USES).map(|_| self.decrypt(record, grant));
        let openings: Vec<_> = futures::future::join_all(many).await.into_iter().flatten().collect();
        assert_eq!(openings.len(), USES as usize, "a grant of {USES} uses allows {USES}");
        for opening in &openings {
            self.open(opening).await;
        }
    }

    async fn open(&self, opening: &Opening) {
        let open = async |client: &SimClient| open_at(client, opening).await;
        let plaintext = self.researcher.insist("open", open).await;
        assert!(plaintext == self.plaintext, "a record opened to other bytes");
        self.researcher.ask_shares(opening.done.transaction).await;
        self.researcher.ask_shares(opening.done.transaction).await;
    }

    /// Opens the same opening again and again, through all that goes wrong, at one node after the other;
    /// and asks and revokes meanwhile.
    async fn live_through(&self, record: RecordId, opening: &Opening, calm: &Cell<bool>) {
        let mut turn = 0;
        while !calm.get() {
            let open = async |client: &SimClient| open_at(client, opening).await;
            if let Some(Ok(plaintext)) = self.researcher.attempt(turn, open).await {
                assert!(plaintext == self.plaintext, "a record opened to other bytes");
            }
            self.researcher.ask_shares(opening.done.transaction).await;
            let grant = self.ask(record, DuoCode::Hmb, 1).await.expect("biomedical research is permitted");
            self.revoke(record, grant).await;
            turn += 1;
        }
        self.open(opening).await;
        // The crash took nothing with it that a threshold of custodians could not make good.
        let enough = usize::from(self.owner.cluster.genesis.channel.custody_threshold);
        while self.researcher.ask_shares(opening.done.transaction).await < enough {
            self.owner.cluster.runtime().sleep(Duration::from_millis(500)).await;
        }
    }

    /// The owner revokes while the researcher goes on: nothing that is ordered later is allowed.
    async fn revoke(&self, record: RecordId, grant: GrantId) -> Height {
        let revoke = async |client: &SimClient| client.revoke(grant).await;
        let race = async {
            self.decrypt(record, grant).await;
            self.decrypt(record, grant).await;
        };
        let (revoked, ()) = futures::join!(self.owner.insist("revoke", revoke), race);
        self.owner.told.is_final(&revoked);
        assert!(self.decrypt(record, grant).await.is_none(), "a revoked grant allows nothing");
        revoked.event.height
    }

    /// Once all have executed a revocation, nothing that was allowed before it is released any more.
    async fn ended_everywhere(&self, revoked: Height, opening: &Opening) {
        let cluster = self.owner.cluster;
        let behind = || {
            let mut nodes = cluster.members().filter_map(|seat| seat.up.get());
            nodes.any(|node| node.channel().tip().height < revoked)
        };
        while behind() {
            cluster.runtime().sleep(Duration::from_millis(100)).await;
        }
        self.no_share_for(opening.done.transaction).await;
    }

    async fn no_share_for(&self, decryption: TransactionId) {
        let given = self.researcher.ask_shares(decryption).await;
        assert_eq!(given, 0, "shares left for {decryption}");
    }
}

pub(crate) async fn open_at(client: &SimClient, opening: &Opening) -> Result<Vec<u8>, OpenError> {
    let mut plaintext = Vec::new();
    client.open(opening, &mut plaintext).await?;
    Ok(plaintext)
}

/// All faults end: everybody catches up, and everything that was promised is there.
pub(crate) async fn settle(cluster: &Cluster, checker: &Checker, told: &Told, pairs: &[Pair<'_>]) -> (u64, [u8; 32]) {
    cluster.heal().await;
    for pair in pairs {
        open_all(pair, checker).await;
    }
    wait(cluster, 300, "the custodians have not told the ledger everything", || {
        cluster.members().all(|seat| untold(&seat.store()) == 0)
    })
    .await;
    let target = checker.highest() + 4;
    let members: BTreeSet<usize> = cluster.members().map(|seat| cluster.seat_of(seat.id())).collect();
    let equal = || checker.all_equal_from(target, &members);
    wait(cluster, 120, "the nodes do not come to one height and state", || equal().is_some()).await;
    let (height, state) = equal().unwrap();
    for position in members {
        let seat = &cluster.seats[position];
        checker.at_rest(&seat.store(), position);
        let node = seat.up.get().unwrap();
        for done in told.finals.borrow().iter() {
            let found = node.channel().event_of(done.transaction).unwrap();
            assert_eq!(found, Some((done.position, done.event.clone())), "what was called final is gone or changed");
        }
        for denied in told.denied.borrow().iter() {
            let (_, event) =
                node.channel().event_of(*denied).unwrap().expect("what was called denied is on the ledger");
            assert_eq!((event.action, event.outcome.verdict), (Action::Decrypt, Verdict::Deny));
        }
        assert_eq!(node.channel().waiting_transactions(), 0, "at rest, nothing waits to be ordered");
    }
    checker.with_log(|log| {
        for (custodian, decryption) in told.shares.borrow().keys() {
            let seat = &cluster.seats[cluster.seat_of(*custodian)];
            let marked = log.released.contains(&(custodian.key(), *decryption));
            // Who has lost what it knew, or is no member any more, can tell nobody.
            assert!(
                marked || seat.excused.get() || !seat.member.get(),
                "custodian {custodian} never told the ledger that it released for {decryption}"
            );
        }
    });
    verify_trail(cluster, checker).await;
    assert_eq!(cluster.cut_off().await, 0, "an honest node was cut off");
    (height, state)
}

/// Every active record of an owner opens to what was sealed, with all shares that are there.
async fn open_all(pair: &Pair<'_>, checker: &Checker) {
    let owner = pair.owner.key().public();
    let registered = checker.with_log(|log| {
        let mine = log.events.iter().filter(|event| event.actor == owner && event.action == Action::Register);
        mine.filter(|event| event.outcome.verdict == Verdict::Applied)
            .filter_map(|event| event.record)
            .collect::<Vec<_>>()
    });
    let active = pair.owner.told.active.borrow().clone();
    assert!(active.iter().any(|record| registered.contains(record)), "an owner has an active record");
    for record in registered {
        let open = async |client: &SimClient| {
            let custody = client.custody(record, VERSION, Duration::ZERO).await?.ok_or(OpenError::NoRecord)?;
            if !custody.is_active() {
                return Ok(None);
            }
            let opening = client.decrypt(record, VERSION, Authority::Owner).await?;
            let plaintext = open_at(client, &opening).await?;
            Ok::<_, OpenError>(Some((opening.done, plaintext)))
        };
        if let Some((done, plaintext)) = pair.owner.insist("open what is owned", open).await {
            pair.owner.told.is_final(&done);
            assert!(plaintext == pair.plaintext, "a record opened to other bytes");
        } else {
            assert!(!active.contains(&record), "an active record is not active any more");
        }
    }
}

/// The exported trail verifies from the pinned genesis alone, and says what the nodes say.
async fn verify_trail(cluster: &Cluster, checker: &Checker) {
    // The last of them is the newest, if the members changed.
    let node = cluster.members().next_back().unwrap().up.get().unwrap();
    let size = node.log_size();
    let bundle = node.export(None, size, Duration::from_secs(60)).await.unwrap();
    let report = bundle::verify(&bundle.to_bytes(), &cluster.genesis.founding()).unwrap();
    let committee = node.channel().epoch_config(bundle.anchor.header.epoch).unwrap().unwrap().orderers();
    assert!(report.signers.iter().all(|key| committee.contains(&NodeId::of_key(*key))), "a stranger's vote counts");
    assert!(report.signers.len() >= quorum(committee.len()), "fewer than a quorum decide");
    checker.with_log(|log| {
        let exported: Vec<_> = report.events.iter().map(|(_, event)| event).collect();
        assert!(exported.len() as u64 >= size);
        assert_eq!(exported, log.events.iter().take(exported.len()).collect::<Vec<_>>());
    });
}

async fn wait(cluster: &Cluster, seconds: u64, otherwise: &str, done: impl Fn() -> bool) {
    let runtime = cluster.runtime();
    let deadline = runtime.current() + Duration::from_secs(seconds);
    while !done() {
        assert!(runtime.current() < deadline, "{otherwise}");
        runtime.sleep(Duration::from_millis(100)).await;
    }
}
