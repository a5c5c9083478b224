use crate::{
    testing::*,
    world::{GrantRow, RequestRow, RequestState},
};
use dmdl_policies::templates::Template;
use dmdl_types::{
    access::{DuoCode, MondoId, Permission, PolicyDocument, Purpose, ReasonCode::*, Terms},
    custody::CustodyEvent,
    event::Verdict,
    id::{GrantId, RecordId, TransactionId},
    invocation::{Access, Authority, Invocation, Medical, Membership},
    sign::SigningKey,
};

fn with_policy(policy: Option<PolicyDocument>) -> (Ledger, RecordId) {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal { policy, ..Deal::default() });
    (ledger, record)
}

/// A record under review, and a request of researcher 2 that waits.
fn waiting() -> (Ledger, RecordId, TransactionId) {
    let (mut ledger, record) = with_policy(Some(policy(Template::ReviewOnly)));
    assert_eq!(told(&ledger.request(&researcher(2), record, terms(10, 3))), (Verdict::Pending, Some(NeedsReview)));
    let request = ledger.last_transaction();
    (ledger, record, request)
}

#[test]
fn the_policy_of_the_record_decides() {
    let (auto, review, closed) =
        (Some(policy(Template::ResearchAuto)), Some(policy(Template::ReviewOnly)), Some(policy(Template::Closed)));
    let specific = PolicyDocument {
        permission: Permission { code: DuoCode::Ds, diseases: vec![MondoId::new(5148).unwrap()] },
        ..policy(Template::ResearchAuto)
    };
    let other_disease = Purpose { code: DuoCode::Ds, disease: MondoId::new(1) };
    let rows: Vec<(&str, Option<PolicyDocument>, SigningKey, Terms, Verdict, _)> = vec![
        ("no policy", None, researcher(2), terms(1, 1), Verdict::Pending, NeedsReview),
        ("review only", review, researcher(2), terms(1, 1), Verdict::Pending, NeedsReview),
        ("a short grant", auto.clone(), researcher(2), terms(90, 10), Verdict::Allow, PolicyPermits),
        ("a day too long", auto.clone(), researcher(2), terms(91, 10), Verdict::Pending, NeedsReview),
        ("a use too many", auto.clone(), researcher(2), terms(90, 11), Verdict::Pending, NeedsReview),
        ("an owner elsewhere", auto, owner(2), terms(1, 1), Verdict::Deny, NoRulePermits),
        ("closed", closed.clone(), researcher(2), terms(1, 1), Verdict::Deny, PolicyForbids),
        ("closed, for its owner", closed, owner(1), terms(1, 1), Verdict::Allow, PolicyPermits),
        (
            "another disease",
            Some(specific),
            researcher(2),
            Terms { purpose: other_disease, ..terms(1, 1) },
            Verdict::Deny,
            PurposeNotPermitted,
        ),
        ("no rules at all", Some(rules("")), researcher(2), terms(1, 1), Verdict::Deny, NoRulePermits),
    ];
    for (name, policy, author, terms, verdict, code) in rows {
        let (mut ledger, record) = with_policy(policy.clone());
        let event = ledger.request(&author, record, terms.clone());
        let (got, reason) = told(&event);
        assert_eq!(got, verdict, "{name}: {:?}", event.outcome);
        // The rule of the house names itself; every other reason is as the row says.
        assert!(reason == Some(code) || reason == Some(Owner), "{name}: {:?}", event.outcome);
        assert_eq!(event.purpose, Some(terms.purpose), "{name}");
        assert_eq!(event.policy, policy.map(|policy| policy.id()), "{name}");
        let id = ledger.last_transaction();
        let state = ledger.row::<RequestRow>(&id).unwrap().state;
        let grant = ledger.row::<GrantRow>(&GrantId::of_request(id));
        match verdict {
            Verdict::Allow => {
                let grant = grant.unwrap();
                assert_eq!(event.outcome.grant, Some(GrantId::of_request(id)));
                assert_eq!(state, RequestState::Allowed);
                assert_eq!(grant.ends, event.time.plus_ms(u64::from(terms.days) * DAY_MS));
                assert_eq!((grant.used, grant.approved, grant.revoked), (0, false, false));
            }
            Verdict::Pending => assert_eq!((state, grant), (RequestState::Pending, None)),
            _ => assert_eq!((state, grant), (RequestState::Denied, None)),
        }
    }
}

#[test]
fn a_request_that_cannot_be_decided_is_denied_and_leaves_only_its_event() {
    let (mut ledger, record) = with_policy(Some(policy(Template::ResearchAuto)));
    let before = ledger.state();
    let missing = RecordId::new([1; 32]);
    let rows = [
        ("no such record", researcher(2), missing, terms(1, 1), UnknownRecord),
        ("a committee member", committee(2), record, terms(1, 1), Role),
        ("an officer", person(2, dmdl_types::genesis::Role::Officer), record, terms(1, 1), Role),
        ("an admin", admin(2), record, terms(1, 1), Role),
        ("nobody", signer(99), record, terms(1, 1), UnknownAuthor),
        ("no days", researcher(2), record, terms(0, 1), BadArgument),
        ("too many days", researcher(2), record, terms(3651, 1), BadArgument),
        ("no uses", researcher(2), record, terms(1, 0), BadArgument),
        ("too many uses", researcher(2), record, terms(1, 100_001), BadArgument),
    ];
    for (name, author, record, terms, code) in rows {
        let event = ledger.request(&author, record, terms);
        assert_eq!(told(&event), (Verdict::Deny, Some(code)), "{name}");
    }
    assert_eq!(ledger.state(), before);
    let event = ledger.request(&researcher(2), record, Terms { country: Some(*b"ch"), ..terms(1, 1) });
    assert_eq!(told(&event), (Verdict::Deny, Some(PolicyError)), "a country that is none");
}

#[test]
fn the_owner_and_its_committee_decide_and_nobody_else() {
    let rows = [
        ("the owner", owner(1), None),
        ("the committee", committee(1), None),
        ("another committee", committee(2), Some(Role)),
        ("another owner", owner(2), Some(Role)),
        ("a colleague", researcher(1), Some(Role)),
        ("the admin", admin(1), Some(Role)),
        ("the requester", researcher(2), Some(Role)),
    ];
    for (name, author, refused) in rows {
        for approve in [true, false] {
            let (mut ledger, _, request) = waiting();
            let call = if approve { Access::Approve { request } } else { Access::Deny { request } };
            let event = ledger.access(&author, call);
            let granted = ledger.row::<GrantRow>(&GrantId::of_request(request));
            assert_eq!(event.refers_to, Some(request));
            if refused.is_some() {
                assert_eq!((told(&event), granted), ((Verdict::Rejected, refused), None), "{name}");
            } else if approve {
                assert_eq!(told(&event), (Verdict::Applied, Some(Approved)), "{name}");
                assert!(granted.unwrap().approved);
            } else {
                assert_eq!((told(&event), granted), ((Verdict::Applied, Some(ReviewDenied)), None), "{name}");
            }
        }
    }
}

#[test]
fn a_request_is_decided_once() {
    let (mut ledger, record, request) = waiting();
    assert_eq!(told(&ledger.access(&owner(1), Access::Deny { request })).1, Some(ReviewDenied));
    let before = ledger.state();
    for call in [Access::Approve { request }, Access::Deny { request }] {
        assert_eq!(told(&ledger.access(&committee(1), call)), (Verdict::Rejected, Some(AlreadyDecided)));
    }
    let unknown = Access::Approve { request: TransactionId::new([1; 32]) };
    assert_eq!(told(&ledger.access(&owner(1), unknown)), (Verdict::Rejected, Some(UnknownRequest)));
    assert_eq!(ledger.state(), before);
    // What a policy denied is not for review either.
    ledger.access(&owner(1), Access::SetPolicy { record, policy: policy(Template::Closed) });
    ledger.request(&researcher(2), record, terms(1, 1));
    let denied = ledger.last_transaction();
    assert_eq!(told(&ledger.access(&owner(1), Access::Approve { request: denied })).1, Some(AlreadyDecided));
}

#[test]
fn nobody_approves_their_own_request() {
    let open_to_review = r#"@id("all") permit (principal, action == Action::"review", resource);"#;
    let (mut ledger, record) = with_policy(Some(rules(open_to_review)));
    assert_eq!(ledger.request(&owner(2), record, terms(1, 1)).outcome.verdict, Verdict::Pending);
    let request = ledger.last_transaction();
    ledger.medical(&owner(1), Medical::Transfer { record, to: owner(2).public() });
    let event = ledger.access(&owner(2), Access::Approve { request });
    assert_eq!(told(&event), (Verdict::Rejected, Some(Role)));
    assert_eq!(told(&ledger.access(&owner(1), Access::Approve { request })).1, Some(Role), "owns it no more");
    assert_eq!(told(&ledger.access(&committee(2), Access::Approve { request })).1, Some(Approved));
}

#[test]
fn what_the_policy_forbids_by_now_nobody_approves() {
    let (mut ledger, record, request) = waiting();
    ledger.access(&owner(1), Access::SetPolicy { record, policy: policy(Template::Closed) });
    let event = ledger.access(&owner(1), Access::Approve { request });
    assert_eq!(told(&event), (Verdict::Rejected, Some(PolicyForbids)));
    assert_eq!(event.policy, Some(policy(Template::Closed).id()));
    assert_eq!(ledger.row::<RequestRow>(&request).unwrap().state, RequestState::Pending);
    ledger.access(&owner(1), Access::SetPolicy { record, policy: policy(Template::ReviewOnly) });
    assert_eq!(told(&ledger.access(&owner(1), Access::Approve { request })).1, Some(Approved));
}

#[test]
fn a_grant_is_not_given_to_somebody_who_may_not_act() {
    for (call, code) in [
        (Membership::Suspend { key: researcher(2).public() }, Suspended),
        (Membership::Revoke { key: researcher(2).public() }, KeyRevoked),
    ] {
        let (mut ledger, _, request) = waiting();
        ledger.call(&admin(2), Invocation::Membership(call));
        let event = ledger.access(&owner(1), Access::Approve { request });
        assert_eq!(told(&event), (Verdict::Rejected, Some(code)));
    }
}

#[test]
fn what_the_owner_tightens_holds_at_once_for_grants_that_were_given_before() {
    let (mut ledger, record) = with_policy(Some(policy(Template::ResearchAuto)));
    let grant = ledger.granted(&researcher(2), record, terms(10, 3));
    ledger.access(&owner(1), Access::SetPolicy { record, policy: policy(Template::Closed) });
    let before = ledger.state();
    let event = ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    assert_eq!(told(&event), (Verdict::Deny, Some(PolicyForbids)));
    assert_eq!(event.policy, Some(policy(Template::Closed).id()));
    assert_eq!(ledger.state(), before);
    // When it is opened again, the grant decides by the policy that it was given under.
    ledger.access(&owner(1), Access::SetPolicy { record, policy: policy(Template::ReviewOnly) });
    let event = ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    assert_eq!((event.outcome.verdict, event.policy), (Verdict::Allow, Some(policy(Template::ResearchAuto).id())));
}

#[test]
fn what_the_owner_loosens_widens_no_grant_that_was_given_before() {
    let sealed = r#"
        @id("ask") permit (principal, action == Action::"request", resource);
        @id("never") forbid (principal, action == Action::"open", resource);
    "#;
    let (mut ledger, record) = with_policy(Some(rules(sealed)));
    let grant = ledger.granted(&researcher(2), record, terms(10, 3));
    ledger.access(&owner(1), Access::SetPolicy { record, policy: policy(Template::ResearchAuto) });
    let event = ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    assert_eq!((told(&event), event.policy), ((Verdict::Deny, Some(PolicyForbids)), Some(rules(sealed).id())));
}

#[test]
fn revoking_is_for_those_who_decide_and_may_be_repeated() {
    let (mut ledger, record) = with_policy(Some(policy(Template::ResearchAuto)));
    let grant = ledger.granted(&researcher(2), record, terms(10, 1));
    ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    let before = ledger.state();
    for author in [researcher(2), owner(2), committee(2), admin(1)] {
        assert_eq!(told(&ledger.access(&author, Access::Revoke { grant })), (Verdict::Rejected, Some(Role)));
    }
    let unknown = Access::Revoke { grant: GrantId::new([1; 32]) };
    assert_eq!(told(&ledger.access(&owner(1), unknown)), (Verdict::Rejected, Some(UnknownGrant)));
    assert_eq!(ledger.state(), before);
    // A grant that is used up can be revoked like any other.
    let call = Invocation::Access(Access::Revoke { grant });
    let transaction = ledger.transaction(&committee(1), call.clone());
    let done = ledger.execute(vec![transaction], vec![]);
    assert_eq!(done.custody, [CustodyEvent::GrantRevoked(grant)]);
    assert_eq!((told(&done.events[0]), done.events[0].outcome.grant), ((Verdict::Applied, None), Some(grant)));
    let after = ledger.state();
    let transaction = ledger.transaction(&owner(1), call);
    let done = ledger.execute(vec![transaction], vec![]);
    assert!(done.custody.is_empty());
    assert_eq!(told(&done.events[0]), (Verdict::Applied, Some(Duplicate)));
    assert_eq!(ledger.state(), after);
}
