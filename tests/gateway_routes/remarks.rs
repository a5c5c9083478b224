//! Remarks and titles at the gateway: what is taken, what is refused with which code, what a reader believes.

use super::world::{HttpPerson, PATIENCE, World, terms};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dmdl::{
    client::{CallError, Gateway as _, Told},
    local::{Identity, os_rng, wall_clock},
    node::{Deed, Parties, Party, RemarkShown},
};
use dmdl_types::{
    codec,
    event::Verdict,
    genesis::{Person, Role},
    id::{NoteCommitment, RecordId, TransactionId, UnixMillis},
    invocation::{Access, Invocation, Medical},
    title::Title,
};
use dmdl_vault::remark::{PlainRemark, Remark, SignedRemark};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

/// A request of somebody for a listed record, left to review, whose reason is not handed in yet.
struct Asked {
    record: RecordId,
    request: TransactionId,
    plain: PlainRemark,
}

fn asked(world: &World, who: &Identity) -> Asked {
    let record = world.record(true, None).record;
    let plain = PlainRemark::new(&mut os_rng(), "a study of sleep").unwrap();
    let call = Access::Request { record, terms: terms(5), reason: plain.commitment() };
    let done = world.run(world.at_node(who).call(Invocation::Access(call))).unwrap();
    Asked { record, request: done.transaction, plain }
}

fn seal(world: &World, who: &Identity, on: TransactionId, plain: &PlainRemark, readers: &[&Identity]) -> Remark {
    let readers = readers.iter().map(|reader| reader.person.key);
    let sealed = SignedRemark::seal(&mut os_rng(), &who.key, &world.genesis().domain(), on, plain, readers);
    sealed.unwrap().remark().clone()
}

fn body(remark: &Remark) -> Value {
    json!({ "remark": STANDARD.encode(codec::encode(remark)) })
}

fn put(world: &World, who: &Identity, request: TransactionId, body: &Value) -> (u16, String) {
    world.send_json(Some(who), "PUT", &format!("requests/{request}/remarks"), body).told()
}

#[test]
fn a_remark_is_taken_from_its_author_for_its_own_transaction_alone() {
    let world = World::shared();
    let (researcher, owner) = (world.person(1, Role::Researcher), world.person(0, Role::Owner));
    let Asked { request, plain, .. } = asked(&world, researcher);
    let other = asked(&world, researcher);
    let good = seal(&world, researcher, request, &plain, &[researcher, owner]);
    let told = |who: &Identity, of: TransactionId, remark: &Remark| put(&world, who, of, &body(remark));
    let refused = |status: u16, code: &str| (status, code.to_owned());

    let uncommitted = PlainRemark::new(&mut os_rng(), "something else").unwrap();
    let uncommitted = seal(&world, researcher, request, &uncommitted, &[owner]);
    assert_eq!(told(researcher, request, &uncommitted), refused(422, "commitment_mismatch"));
    let foreign = seal(&world, owner, request, &plain, &[owner]);
    assert_eq!(told(owner, request, &foreign), refused(403, "not_author"));
    assert_eq!(told(owner, request, &good), refused(403, "not_author"), "somebody else hands it in");
    assert_eq!(told(researcher, other.request, &good), refused(422, "remark_invalid"), "of another request");
    assert_eq!(told(&world.stranger, request, &good), refused(404, "unknown_request"));
    let nowhere = TransactionId::new([0xee; 32]);
    assert_eq!(told(researcher, nowhere, &good), refused(404, "unknown_request"));
    let mut bytes = codec::encode(&good);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let raw = |bytes: &[u8]| put(&world, researcher, request, &json!({ "remark": STANDARD.encode(bytes) }));
    assert_eq!(raw(&bytes), refused(422, "remark_invalid"), "not signed");
    assert_eq!(raw(&bytes[..last]), refused(400, "noncanonical"));
    assert_eq!(raw(&vec![0; 64 * 1024]), refused(422, "too_long"));
    assert_eq!(put(&world, researcher, request, &json!({ "remark": "%" })), refused(400, "bad_base64"));
    assert_eq!(put(&world, researcher, request, &json!({})), refused(400, "json_shape"));

    assert_eq!(told(researcher, request, &good), refused(204, "ok"));
    assert_eq!(told(researcher, request, &good), refused(204, "ok"), "doing it again does no harm");
    let second = seal(&world, researcher, request, &plain, &[owner]);
    assert_eq!(told(researcher, request, &second), refused(409, "remark_exists"));
    let withdrawn = SignedRemark::withdraw(&researcher.key, &world.genesis().domain(), request);
    assert_eq!(told(researcher, request, withdrawn.remark()), refused(204, "ok"));
    assert_eq!(told(researcher, request, &good), refused(409, "remark_withdrawn"));
}

#[test]
fn a_request_that_was_taken_for_none_has_no_place_for_a_remark() {
    let world = World::shared();
    let (researcher, owner) = (world.person(1, Role::Researcher), world.person(0, Role::Owner));
    let Asked { record, request, .. } = asked(&world, researcher);
    // The owner's own transaction on the record is no review of the request.
    let plain = PlainRemark::new(&mut os_rng(), "by the way").unwrap();
    let policy = super::world::research_policy();
    let set = world.run(world.at_node(owner).set_policy(record, policy)).unwrap();
    let remark = seal(&world, owner, set.transaction, &plain, &[owner]);
    let (status, code) = put(&world, owner, request, &body(&remark));
    assert_eq!((status, code.as_str()), (422, "remark_invalid"));
    let direct = world.run(world.at_node(owner).gateway().keep_remark(request, &remark));
    assert!(direct.unwrap_err().to_string().contains("takes no remark"), "and a node takes it from nobody");
}

#[test]
fn a_reader_believes_what_the_author_signed_and_committed_to_and_nothing_else() {
    let world = World::shared();
    let (researcher, owner) = (world.person(1, Role::Researcher), world.person(0, Role::Owner));
    let record = world.record(true, None).record;
    let reader: HttpPerson = world.across(owner);
    let (asked, shown) = world.run(async {
        let asked = world.across(researcher).ask(record, terms(5), "a study of sleep").await.unwrap();
        asked.kept.unwrap();
        let shown = reader.gateway().remarks(asked.done.transaction).await.unwrap();
        (asked.done.transaction, shown)
    });
    let [shown] = <[RemarkShown; 1]>::try_from(shown).unwrap();
    let told = |shown: &RemarkShown| reader.said(asked, shown).map(|said| said.told);
    assert_eq!(told(&shown), Some(Told::Text("a study of sleep".to_owned())));
    let bytes = shown.remark.clone().unwrap();
    for position in (0..bytes.len()).step_by(7) {
        let mut altered = bytes.clone();
        altered[position] ^= 1;
        assert_eq!(told(&RemarkShown { remark: Some(altered), ..shown.clone() }), Some(Told::Altered), "{position}");
    }
    assert_eq!(told(&RemarkShown { remark: Some(vec![]), ..shown.clone() }), Some(Told::Altered));
    assert_eq!(told(&RemarkShown { remark: None, ..shown.clone() }), Some(Told::Missing));
    // The author's own word, but on another transaction of theirs, or another text than the ledger commits to.
    let plain = PlainRemark::new(&mut os_rng(), "another text").unwrap();
    let other = seal(&world, researcher, asked, &plain, &[owner]);
    assert_eq!(told(&RemarkShown { remark: Some(codec::encode(&other)), ..shown.clone() }), Some(Told::Altered));
    let elsewhere = seal(&world, researcher, TransactionId::new([1; 32]), &plain, &[owner]);
    assert_eq!(told(&RemarkShown { remark: Some(codec::encode(&elsewhere)), ..shown.clone() }), Some(Told::Altered));
    // Another transaction than the one that was asked for, or one that somebody made up.
    assert_eq!(reader.said(TransactionId::new([2; 32]), &shown).map(|said| said.told), None);
    let mut forged = shown.clone();
    let Invocation::Access(Access::Request { reason, .. }) = &mut forged.transaction.body.invocation else { panic!() };
    *reason = NoteCommitment::new([0; 32]);
    assert_eq!(told(&forged), None);
    let officer = world.across(world.person(1, Role::Officer));
    assert_eq!(officer.said(asked, &shown).map(|said| said.told), Some(Told::Text("a study of sleep".to_owned())));
    let stranger = world.across(&world.stranger);
    assert_eq!(
        stranger.said(asked, &shown).map(|said| said.told),
        Some(Told::NotForYou),
        "whatever a gateway hands out"
    );
}

#[test]
fn nobody_reads_a_remark_because_a_gateway_says_so() {
    let world = World::shared();
    let (researcher, owner) = (world.person(1, Role::Researcher), world.person(0, Role::Owner));
    let (record, other) = (world.record(true, None).record, world.record(true, None).record);
    let author = world.across(researcher);
    let parties = |record| world.run(author.gateway().parties(record)).unwrap();
    let honest = parties(record);
    let readers = |shown: &Parties| world.run(author.readers(record, shown));
    let keys = |people: &[&Identity]| people.iter().map(|who| who.person.key).collect::<BTreeSet<_>>();
    let own_committee = world.person(0, Role::Committee);
    let officers = [world.person(0, Role::Officer), world.person(1, Role::Officer)];
    let all = keys(&[researcher, owner, own_committee, officers[0], officers[1]]);
    assert_eq!(readers(&honest).unwrap(), all);

    // Whom the genesis document knows and the record does not concern is shown in vain.
    let with = |party: Party| Parties { people: [honest.people.clone(), vec![party]].concat(), ..honest.clone() };
    let party = |person: &Person| Party { person: person.clone(), active: true, enrolment: None };
    let foreign = world.person(1, Role::Committee);
    assert_eq!(readers(&with(party(&foreign.person))).unwrap(), all);
    let mut suspended = honest.clone();
    suspended
        .people
        .iter_mut()
        .filter(|party| party.person.role == Role::Officer)
        .for_each(|party| party.active = false);
    assert_eq!(readers(&suspended).unwrap(), keys(&[researcher, owner, own_committee]));

    let gateways_own = Person { role: Role::Officer, ..world.nobody.person.clone() };
    let promoted = Person { role: Role::Officer, ..world.stranger.person.clone() };
    let lies = [
        ("a key of its own", with(party(&gateways_own))),
        (
            "with a deed of something else",
            with(Party { enrolment: Some(honest.acquired.clone()), ..party(&gateways_own) }),
        ),
        ("a researcher as an officer", with(party(&promoted))),
        ("the deed of another record", Parties { acquired: parties(other).acquired, ..honest.clone() }),
        ("the receipt of another deed", {
            let acquired = Deed { receipt: parties(other).acquired.receipt, ..honest.acquired.clone() };
            Parties { acquired, ..honest.clone() }
        }),
        ("without the owner", {
            let people = honest.people.iter().filter(|party| party.person.key != owner.person.key).cloned().collect();
            Parties { people, ..honest.clone() }
        }),
    ];
    for (name, lie) in lies {
        assert!(matches!(readers(&lie), Err(CallError::Unproved(_))), "{name}");
    }
}

#[test]
fn the_remarks_and_parties_are_shown_to_whom_they_concern() {
    let world = World::shared();
    let researcher = world.person(1, Role::Researcher);
    let Asked { record, request, .. } = asked(&world, researcher);
    let hidden = world.record(false, None).record;
    for (name, who) in world.everybody() {
        let (org, role) = (who.person.org.as_str(), who.person.role);
        let decides = org == "city-hospital" && matches!(role, Role::Owner | Role::Committee);
        let sees = role == Role::Officer || decides || who.person.key == researcher.person.key;
        let answer = world.get(Some(who), &format!("requests/{request}/remarks"));
        let absent = world.get(Some(who), &format!("requests/{}/remarks", TransactionId::new([0xee; 32])));
        absent.problem(404, "unknown_request");
        if sees {
            assert_eq!(answer.json()["items"].as_array().unwrap().len(), 1, "{name}");
            assert_eq!(answer.json()["items"][0]["remark"], Value::Null, "{name}: nothing was handed in");
        } else {
            assert_eq!(answer.lasting(), absent.lasting(), "{name}");
        }
        let parties = world.get(Some(who), &format!("records/{record}/parties")).json();
        let people = parties["people"].as_array().unwrap().len();
        assert_eq!(people, 4, "{name}: owner, committee, two officers");
        let unlisted = world.get(Some(who), &format!("records/{hidden}/parties"));
        let none = world.get(Some(who), &format!("records/{}/parties", RecordId::new([0xee; 32])));
        none.problem(404, "unknown_record");
        if role != Role::Officer && !decides {
            assert_eq!(unlisted.lasting(), none.lasting(), "{name}");
        } else {
            unlisted.json();
        }
    }
}

#[test]
fn a_title_is_taken_from_the_owner_in_the_owners_words_alone() {
    let world = World::shared();
    let owner = world.person(0, Role::Owner);
    let (record, other) = (world.record(true, None).record, world.record(false, None).record);
    let domain = world.genesis().domain();
    let title = |who: &Identity, record, text: &str| {
        Title::sign(&who.key, &domain, record, UnixMillis::new(5), text).unwrap().title().clone()
    };
    let put = |who: &Identity, record: RecordId, title: &Title| {
        let body = json!({ "title": STANDARD.encode(codec::encode(title)) });
        world.send_json(Some(who), "PUT", &format!("records/{record}/title"), &body).told()
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    let good = title(owner, record, "CT");
    assert_eq!(put(&world.stranger, record, &good), refused(403, "role"));
    assert_eq!(put(&world.stranger, other, &good), refused(404, "unknown_record"));
    assert_eq!(put(owner, RecordId::new([0xee; 32]), &good), refused(404, "unknown_record"));
    assert_eq!(put(owner, record, &title(owner, other, "CT")), refused(422, "title_not_signed"));
    let foreign = title(&world.stranger, record, "CT");
    assert_eq!(put(owner, record, &foreign), refused(403, "role"), "the owner hands in another's word");
    let forged = Title::new(record, owner.person.key, UnixMillis::new(6), "CT".to_owned(), {
        Title::sign(&owner.key, &domain, record, UnixMillis::new(5), "CT").unwrap().signature()
    });
    assert_eq!(put(owner, record, &forged), refused(422, "title_not_signed"));
    let signature = dmdl_types::sign::Signature::new([0; 64]);
    let long = Title::new(record, owner.person.key, UnixMillis::new(6), "x".repeat(257), signature);
    assert_eq!(put(owner, record, &long), refused(422, "too_long"));
    let steering = Title::new(record, owner.person.key, UnixMillis::new(6), "\u{1b}[2J".to_owned(), signature);
    assert_eq!(put(owner, record, &steering), refused(422, "bad_title"));
    assert_eq!(put(owner, record, &good), refused(204, "ok"));
    let shown = world.get(Some(owner), &format!("records/{record}")).json();
    assert_eq!((&shown["title"]["text"], &shown["title"]["time"]), (&"CT".into(), &5.into()));
    let question = json!({ "contract": "medical", "function": "readMedical", "args": { "record": record } });
    assert_eq!(world.send_json(Some(owner), "POST", "query", &question).json()["title"], shown["title"]);
}

#[test]
fn the_last_title_counts_and_can_always_be_taken_back() {
    let world = World::shared();
    let owner = world.person(0, Role::Owner);
    let record = world.record(true, None).record;
    let client = world.across(owner);
    let give = |time: u64, text: &str| world.run(client.title(record, UnixMillis::new(time), text));
    let code = |given: Result<(), CallError>| given.unwrap_err().problem().unwrap().code.to_string();
    let shown = || world.get(Some(owner), &format!("records/{record}")).json()["title"].clone();
    give(5, "CT").unwrap();
    assert_eq!(code(give(4, "older")), "title_superseded");
    assert_eq!(shown()["text"], "CT");
    give(5, "").unwrap();
    assert_eq!(shown()["text"], "", "at one time, taking back counts");
    assert_eq!(code(give(5, "again")), "title_superseded");
    give(6, "MRI").unwrap();
    // A time that no later title could come after, and one that is wrong by more than a day.
    let tomorrow = wall_clock().now().plus_ms(25 * 60 * 60 * 1000);
    for time in [u64::MAX, tomorrow.get()] {
        assert_eq!(code(give(time, "for ever")), "bad_title");
    }
    assert_eq!(shown()["text"], "MRI");
}

#[test]
fn a_title_goes_with_the_ownership_and_does_not_come_back_with_it() {
    let world = World::shared();
    let (owner, heir) = (world.person(0, Role::Owner), world.person(1, Role::Owner));
    let record = world.record(true, None).record;
    let title = |who: &Identity| {
        let row = world.get(Some(who), &format!("records/{record}")).json();
        row["title"]["text"].as_str().map(str::to_owned)
    };
    let transfer = |from: &Identity, to: &Identity| {
        let call = Invocation::Medical(Medical::Transfer { record, to: to.person.key });
        let done = world.run(world.at_node(from).call(call)).unwrap();
        assert_eq!(done.event.outcome.verdict, Verdict::Applied);
    };
    world.run(world.across(owner).title(record, UnixMillis::new(5), "CT")).unwrap();
    assert_eq!(title(owner).as_deref(), Some("CT"));
    transfer(owner, heir);
    assert_eq!(title(heir), None);
    transfer(heir, owner);
    let begun = Instant::now();
    while title(owner).is_some() {
        assert!(begun.elapsed() < PATIENCE, "the title is still there");
        thread::sleep(Duration::from_millis(50));
    }
    world.run(world.across(owner).title(record, UnixMillis::new(4), "anew")).unwrap();
    assert_eq!(title(owner).as_deref(), Some("anew"), "nothing is left of the first one");
}
