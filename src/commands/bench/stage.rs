//! The network that is measured, and the people who act on it.

use super::{
    super::{ends::Ends, failure, record::applied, session::Address},
    files::AtRest,
    meter::Meter,
    own::{self, Own, Shape, interrupted},
};
use crate::{
    client::{CallError, Client, HttpGateway, Trust},
    exit::{Exit, Failure},
    local::{Identity, os_rng, wall_clock},
    network_file::{Endpoint, NetworkFile},
    node::Final,
};
use dmdl_types::{
    charter::{Charter, SignedCharter},
    genesis::{ChannelConfig, Founding, Genesis, Person as Enrolled, Role},
    id::{ChannelName, Height},
    invocation::{Invocation, Membership},
    sign::PublicKey,
};
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use getrandom::SysRng;
use rand_core::{Rng as _, UnwrapErr};
use serde_json::Value;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, time::sleep};

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long nodes may take to come as far as others: they ask each other for charters every half a minute.
const SETTLES: Duration = Duration::from_secs(60);
/// How often it is looked how far the nodes are.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Calls on their way at a time while a run is prepared.
const AT_ONCE: usize = 32;

/// A person at a gateway that is measured.
pub(super) type Person = Client<HttpGateway, UnwrapErr<SysRng>>;

/// The people who act on each channel of a network of our own: they are there from the beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    pub(super) owners: usize,
    pub(super) researchers: usize,
}

/// The network that is measured.
pub(super) struct Stage {
    genesis: Genesis,
    admin: Identity,
    gateways: Vec<Address>,
    channels: Vec<Channel>,
    /// Whether people sign every request, instead of opening a session on each connection.
    signs_each: bool,
    /// Whose turn it is to get a person.
    next: usize,
    /// Whom a running network may know of by now.
    enrolled: Vec<PublicKey>,
    own: Option<Own>,
}

/// A channel, as its people see it.
struct Channel {
    /// One for each gateway.
    doors: Vec<Door>,
    /// Who is there from the beginning, and has not been given out.
    cast: Vec<Identity>,
}

/// A channel at one gateway.
struct Door {
    /// What is believed of the channel. Whoever asks here shares it, as the people of a hospital do whose system
    /// verifies a checkpoint once, and not once for each of them.
    trust: Arc<Trust>,
    admin: Person,
}

/// How far all channels together are, by whichever gateway is ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) events: u64,
    pub(super) blocks: u64,
}

impl Stage {
    /// A network that runs already, on which this admin enrols whoever is needed.
    pub(super) fn running(
        genesis: Genesis,
        gateways: Vec<Address>,
        admin: Identity,
        signs_each: bool,
    ) -> Result<Self, Failure> {
        let founding = genesis.founding();
        let (channels, enrolled) = (Vec::new(), Vec::new());
        let mut stage = Self { genesis, admin, gateways, channels, signs_each, next: 0, enrolled, own: None };
        stage.add(founding, Vec::new())?;
        Ok(stage)
    }

    /// A new network of our own, which is ready.
    pub(super) fn temporary(
        runtime: &Runtime,
        ends: &mut Ends,
        shape: &Shape,
        cast: Cast,
        signs_each: bool,
    ) -> Result<Self, Failure> {
        let admins = shape.names().map(|org| identity(&org, "admin", Role::Admin));
        let admins = admins.collect::<Result<Vec<_>, _>>()?;
        let mut people = admins.iter().map(copy).collect::<Vec<_>>();
        people.extend(cast.people(shape)?);
        let (own, NetworkFile { genesis, gateways, .. }) = Own::start(shape, &people, ends)?;
        let admin = admins.first().map(copy).ok_or_else(|| own::not_up("nobody is an admin"))?;
        let (founding, gateways) = (genesis.founding(), gateways.iter().map(Endpoint::address).collect());
        let (channels, enrolled) = (Vec::new(), Vec::new());
        let mut stage = Self { genesis, admin, gateways, channels, signs_each, next: 0, enrolled, own: Some(own) };
        stage.add(founding, people.split_off(admins.len()))?;
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = ends.any() => Err(interrupted()),
                ready = stage.found_all(shape, cast, &admins) => ready,
            }
        })?;
        Ok(stage)
    }

    /// Founds the channels beside the first, and waits until every gateway's node makes blocks on all of them.
    async fn found_all(&mut self, shape: &Shape, cast: Cast, admins: &[Identity]) -> Result<(), Failure> {
        self.settle(Height::new(1)).await?;
        for number in 2..=shape.channels {
            let people = cast.people(shape)?;
            let charter = self.charter(&format!("channel-{number}"), admins, &people)?;
            let founding = charter.verify(&self.genesis).map_err(own::not_up)?;
            let handed_in = self.door(0, 0)?.admin.gateway().found(&charter).await;
            handed_in.map_err(|error| failure::gateway(&error))?;
            self.add(founding, people)?;
            // Before the next: a node that is told of one while it starts another hears of it again much later.
            self.settle(Height::new(1)).await?;
        }
        Ok(())
    }

    /// Adds a channel with these people.
    fn add(&mut self, founding: Founding, cast: Vec<Identity>) -> Result<(), Failure> {
        let door = |(url, certificate_sha256): &Address| {
            let at = HttpGateway::new(url, *certificate_sha256, &founding, &self.admin.key);
            let at = at.map_err(|error| Failure::new(Exit::Configuration, "bad_gateway", error))?;
            let (at, trust) = (if self.signs_each { at } else { at.in_sessions() }, Trust::new(founding.clone()));
            let trust = Arc::new(trust);
            let admin = Client::new(Arc::clone(&trust), self.admin.key(), at, os_rng(), PATIENCE);
            Ok(Door { trust, admin })
        };
        let doors = self.gateways.iter().map(door).collect::<Result<_, _>>()?;
        self.channels.push(Channel { doors, cast });
        Ok(())
    }

    /// The charter of a channel like the first one, with people of its own.
    fn charter(&self, name: &str, admins: &[Identity], people: &[Identity]) -> Result<SignedCharter, Failure> {
        let mut first: Vec<Enrolled> = people.iter().map(|identity| identity.person.clone()).collect();
        first.push(self.admin.person.clone());
        first.sort_by_key(|person| person.key);
        let mut seed = [0; 32];
        os_rng().fill_bytes(&mut seed);
        let name = ChannelName::new(name).map_err(internal)?;
        let mut charter = SignedCharter::new(Charter {
            version: 1,
            network: self.genesis.id(),
            seed,
            time: wall_clock().now(),
            members: self.genesis.members.clone(),
            people: first,
            channel: ChannelConfig { name, ..self.genesis.channel.clone() },
        });
        admins.iter().for_each(|admin| charter.approve(&admin.key));
        Ok(charter)
    }

    /// What can be measured of it besides the clients.
    pub(super) fn meter(&self) -> Meter {
        Meter::of(self.own.as_ref().map(Own::parts).unwrap_or_default())
    }

    /// How many channels there are.
    pub(super) const fn channels(&self) -> usize {
        self.channels.len()
    }

    /// What the network is, in a few words.
    pub(super) fn line(&self) -> String {
        let gateways = match &self.gateways[..] {
            [(url, _)] if self.own.is_none() => format!("at the gateway {url}"),
            gateways => count(gateways.len(), "gateway"),
        };
        let orgs = count(self.orgs(), "organisation");
        let Some(own) = &self.own else { return format!("{orgs}, {gateways}") };
        let place = match own.processes() {
            Some(processes) => format!("in {}", count(processes, "process")),
            None => "in this process".to_owned(),
        };
        format!("{orgs} {place}, {gateways}, {}, on {}", count(self.channels(), "channel"), own.file_system())
    }

    /// The same for machines.
    pub(super) fn json(&self) -> Value {
        let own = self.own.as_ref();
        serde_json::json!({
            "temporary": own.is_some(), "organisations": self.orgs(), "nodes": self.genesis.members.len(),
            "processes": own.and_then(Own::processes), "gateways": self.gateways.len(), "channels": self.channels(),
            "file_system": own.map(Own::file_system),
        })
    }

    fn orgs(&self) -> usize {
        let mut orgs: Vec<_> = self.genesis.members.iter().map(|member| &member.org).collect();
        orgs.sort();
        orgs.dedup();
        orgs.len()
    }

    /// Whether the network is our own.
    pub(super) const fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Fails if a node of our own has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        self.own.as_mut().map_or(Ok(()), Own::check)
    }

    /// How far the channels are.
    pub(super) async fn extent(&self) -> Result<Extent, Failure> {
        let mut all = Extent::default();
        for channel in 0..self.channels.len() {
            let shown = future::try_join_all((0..self.gateways.len()).map(|at| self.shown(channel, at))).await?;
            all.events += shown.iter().map(|shown| shown.events).max().unwrap_or_default();
            all.blocks += shown.iter().map(|shown| shown.blocks).max().unwrap_or_default();
        }
        Ok(all)
    }

    /// How far a channel is at one gateway.
    async fn shown(&self, channel: usize, gateway: usize) -> Result<Extent, Failure> {
        let status = self.door(channel, gateway)?.admin.gateway().get("status").await;
        let status = status.map_err(|error| failure::gateway(&error))?;
        let number = |name| status.get(name).and_then(Value::as_u64);
        let extent = number("log_size").zip(number("height")).map(|(events, blocks)| Extent { events, blocks });
        extent.ok_or_else(|| {
            let detail = "the gateway's status has no size of the log, or no height";
            Failure::new(Exit::Integrity, "gateway_answer", detail)
        })
    }

    /// Waits until every gateway knows what one of them does, and has made blocks up to this height at least.
    pub(super) async fn settle(&self, least: Height) -> Result<(), Failure> {
        let deadline = Instant::now() + SETTLES;
        for channel in 0..self.channels.len() {
            let shown = future::join_all((0..self.gateways.len()).map(|at| self.shown(channel, at))).await;
            let ahead = shown.into_iter().flatten().map(|shown| shown.blocks).max().unwrap_or_default();
            let goal = ahead.max(least.get());
            for gateway in 0..self.gateways.len() {
                self.wait_at(channel, gateway, goal, deadline).await?;
            }
        }
        Ok(())
    }

    async fn wait_at(&self, channel: usize, gateway: usize, goal: u64, deadline: Instant) -> Result<(), Failure> {
        loop {
            let failed = match self.shown(channel, gateway).await {
                Ok(shown) if shown.blocks >= goal => return Ok(()),
                Ok(_) => own::not_up(format!("a gateway's node did not come to {goal} blocks in {SETTLES:?}")),
                // It may not have heard of the channel yet.
                Err(failure) => failure,
            };
            if Instant::now() > deadline {
                return Err(failed);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// So many people with a role on a channel, each of whom has a quota of their own, at one gateway after the other.
    pub(super) async fn people(
        &mut self,
        channel: usize,
        role: Role,
        count: usize,
    ) -> Result<Vec<Arc<Person>>, Failure> {
        if self.is_own() {
            let nobody = || Failure::new(Exit::Internal, "internal", "too few people are on the stage");
            return (0..count)
                .map(|_| {
                    let cast = &mut self.channels.get_mut(channel).ok_or_else(nobody)?.cast;
                    let at = cast.iter().position(|identity| identity.person.role == role).ok_or_else(nobody)?;
                    let identity = cast.swap_remove(at);
                    let gateway = self.turn();
                    self.client(channel, gateway, &identity).map(Arc::new)
                })
                .collect();
        }
        let org = self.admin.person.org.to_string();
        let new = |number| identity(&org, &format!("bench-{number}"), role);
        let new = (0..count).map(new).collect::<Result<Vec<Identity>, Failure>>()?;
        // Before they are enrolled: whatever interrupts this, they are revoked.
        self.enrolled.extend(new.iter().map(|identity| identity.person.key));
        let new: Vec<(usize, Identity)> = new.into_iter().map(|identity| (self.turn(), identity)).collect();
        let enrolled = new.iter().map(|(gateway, identity)| self.enrol(channel, *gateway, identity));
        stream::iter(enrolled).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Enrols somebody at the gateway where they are to act, which knows them then.
    async fn enrol(&self, channel: usize, gateway: usize, identity: &Identity) -> Result<Arc<Person>, Failure> {
        let call = Invocation::Membership(Membership::Enrol { person: identity.person.clone() });
        proved(self.door(channel, gateway)?.admin.call(call).await)?;
        self.client(channel, gateway, identity).map(Arc::new)
    }

    /// Which gateway is next.
    const fn turn(&mut self) -> usize {
        self.next += 1;
        (self.next - 1) % self.gateways.len()
    }

    /// Revokes whom it has enrolled on a network that lives on, or takes down one of our own, and says what its nodes
    /// keep if somebody wants to know.
    pub(super) fn close(mut self, runtime: &Runtime, looks: bool) -> Result<Option<AtRest>, Failure> {
        match self.own.take() {
            Some(own) => own.stop(looks),
            None => runtime.block_on(self.revoke()).map(|()| None),
        }
    }

    /// Revokes everybody, and then says what went wrong first.
    async fn revoke(&self) -> Result<(), Failure> {
        let admin = &self.door(0, 0)?.admin;
        let revoke = |key: &PublicKey| {
            let call = Invocation::Membership(Membership::Revoke { key: *key });
            async move { proved(admin.call(call).await).map(drop) }
        };
        let revoked: Vec<Result<(), Failure>> =
            stream::iter(self.enrolled.iter().map(revoke)).buffer_unordered(AT_ONCE).collect().await;
        // Who was not enrolled yet when it was interrupted need not be revoked.
        let failed = revoked.into_iter().filter_map(Result::err).find(|failure| failure.code != "unknown_person");
        failed.map_or(Ok(()), Err)
    }

    fn client(&self, channel: usize, gateway: usize, identity: &Identity) -> Result<Person, Failure> {
        let Door { trust, admin } = self.door(channel, gateway)?;
        // Who is refused is counted, and does not ask again by themselves.
        let at = admin.gateway().of(&identity.key).persistently(Duration::ZERO);
        Ok(Client::new(Arc::clone(trust), identity.key(), at, os_rng(), PATIENCE))
    }

    fn door(&self, channel: usize, gateway: usize) -> Result<&Door, Failure> {
        let door = self.channels.get(channel).and_then(|channel| channel.doors.get(gateway));
        door.ok_or_else(|| Failure::new(Exit::Configuration, "bad_gateway", "there is no such gateway"))
    }
}

impl Cast {
    /// New people, of one organisation after the other.
    fn people(self, shape: &Shape) -> Result<Vec<Identity>, Failure> {
        let roles = [(self.owners, Role::Owner, "owner"), (self.researchers, Role::Researcher, "researcher")];
        let orgs: Vec<String> = shape.names().collect();
        let of_role = roles.iter().flat_map(|(count, role, name)| (0..*count).map(move |number| (number, role, name)));
        let people = of_role.zip(orgs.iter().cycle());
        people.map(|((number, role, name), org)| identity(org, &format!("{name}-{number}"), *role)).collect()
    }
}

/// What a call came to that must succeed.
pub(super) fn proved(done: Result<Final, CallError>) -> Result<Final, Failure> {
    let done = done.map_err(|error| failure::call(&error))?;
    applied(&done)?;
    Ok(done)
}

fn identity(org: &str, name: &str, role: Role) -> Result<Identity, Failure> {
    Identity::new(org, name, role).map_err(internal)
}

fn copy(identity: &Identity) -> Identity {
    Identity { person: identity.person.clone(), key: identity.key() }
}

/// A number of things, which get an `s`, or an `es` after one.
fn count(number: usize, what: &str) -> String {
    let end = match number {
        1 => "",
        _ if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{number} {what}{end}")
}

fn internal(error: impl ToString) -> Failure {
    Failure::new(Exit::Internal, "internal", error)
}
