//! Which events somebody wants to see.

use super::super::text;
use crate::exit::{Exit, Failure};
use clap::{Args as ClapArgs, builder::PossibleValuesParser};
use dmdl_types::{
    access::DuoCode,
    event::Event,
    id::{RecordId, SubjectId},
    index_proof::HeadKey,
    sign::PublicKey,
};
use serde_json::Value;

/// What an outcome can begin with.
const VERDICTS: [&str; 5] = ["applied", "allow", "deny", "pending", "rejected"];

#[derive(Debug, Default, ClapArgs)]
pub(in super::super) struct Filter {
    /// Only at or after this time, RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = text::parse_time)]
    pub(super) from: Option<u64>,
    /// Only at or before this time, RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = text::parse_time)]
    pub(super) to: Option<u64>,
    /// Only about this record.
    #[arg(long, value_name = "ID")]
    pub(super) record: Option<RecordId>,
    /// Only by this person or node.
    #[arg(long, value_name = "KEY")]
    pub(super) actor: Option<PublicKey>,
    /// Only about this subject, by the id that the ledger has.
    #[arg(long, value_name = "ID")]
    pub(super) subject: Option<SubjectId>,
    /// Only with this purpose, as a DUO code.
    #[arg(long, value_name = "CODE")]
    pub(super) purpose: Option<DuoCode>,
    /// Only with this outcome.
    #[arg(long, value_name = "OUTCOME", value_parser = PossibleValuesParser::new(VERDICTS))]
    pub(super) outcome: Option<String>,
}

impl Filter {
    /// Refuses a range that nothing can be in.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from > to => Err(Failure::new(Exit::Usage, "range", "--from is later than --to")),
            _ => Ok(()),
        }
    }

    /// The filter as a gateway takes it.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let Self { from, to, record, actor, subject, purpose, outcome } = self;
        let members = [
            ("from", from.map(|ms| ms.to_string())),
            ("to", to.map(|ms| ms.to_string())),
            ("record", record.map(|id| id.to_string())),
            ("actor", actor.map(|key| key.to_string())),
            ("subject", subject.map(|id| id.to_string())),
            ("purpose", purpose.map(|code| code.to_string())),
            ("outcome", outcome.clone()),
        ];
        members.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// What a bundle can be proved complete for: the first of record, actor, subject.
    pub(super) fn head(&self) -> Option<HeadKey> {
        let record = self.record.map(HeadKey::Record);
        record.or(self.actor.map(HeadKey::Actor)).or(self.subject.map(HeadKey::Subject))
    }

    /// Whether a bundle for [`Filter::head`] has these events and no others.
    pub(super) fn is_head(&self) -> bool {
        self.query().len() <= usize::from(self.head().is_some())
    }

    /// Whether an event is wanted.
    pub(super) fn takes(&self, event: &Event) -> bool {
        serde_json::to_value(event).is_ok_and(|event| self.takes_json(&event))
    }

    /// Whether an event is wanted, as a gateway shows it.
    pub(super) fn takes_json(&self, event: &Value) -> bool {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let time = event.get("time").and_then(Value::as_u64);
        let is = |path: &str, wanted: Option<String>| wanted.is_none_or(|wanted| text(path) == wanted);
        self.from.is_none_or(|from| time.is_some_and(|time| time >= from))
            && self.to.is_none_or(|to| time.is_some_and(|time| time <= to))
            && is("/record", self.record.map(|id| id.to_string()))
            && is("/actor", self.actor.map(|key| key.to_string()))
            && is("/subject", self.subject.map(|id| id.to_string()))
            && is("/purpose/code", self.purpose.map(|code| code.to_string()))
            && is("/outcome/verdict", self.outcome.clone())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use dmdl_types::{
        access::{Purpose, Reason, ReasonCode},
        custody::ShareSet,
        event::{Action, Outcome, Verdict},
        id::{Height, PolicyId, ShareEpoch, ShareSetId, TransactionId, UnixMillis},
    };

    /// A denied request.
    pub(in super::super) fn event() -> Event {
        let reason = Reason {
            policy: Some(PolicyId::new([6; 32])),
            rule: Some("weekdays-only".to_owned()),
            ..Reason::code(ReasonCode::PolicyForbids)
        };
        Event {
            height: Height::new(3),
            time: UnixMillis::new(1000),
            transaction: TransactionId::new([1; 32]),
            item: 0,
            action: Action::Request,
            actor: PublicKey::new([2; 32]),
            org: Some("city-hospital".parse().unwrap()),
            record: Some(RecordId::new([3; 32])),
            version: None,
            subject: Some(SubjectId::new([4; 32])),
            shares: Some(ShareSet { epoch: ShareEpoch::new(2), id: ShareSetId::new([5; 32]) }),
            purpose: Some(Purpose { code: DuoCode::Ds, disease: "MONDO:0005148".parse().ok() }),
            policy: Some(PolicyId::new([6; 32])),
            refers_to: None,
            outcome: Outcome::of(Verdict::Deny, reason),
        }
    }

    #[test]
    fn every_part_of_a_filter_decides_by_itself() {
        let event = event();
        assert!(Filter::default().takes(&event));
        let parts: [(Filter, bool); 14] = [
            (Filter { from: Some(1000), ..Filter::default() }, true),
            (Filter { from: Some(1001), ..Filter::default() }, false),
            (Filter { to: Some(1000), ..Filter::default() }, true),
            (Filter { to: Some(999), ..Filter::default() }, false),
            (Filter { record: Some(RecordId::new([3; 32])), ..Filter::default() }, true),
            (Filter { record: Some(RecordId::new([4; 32])), ..Filter::default() }, false),
            (Filter { actor: Some(PublicKey::new([2; 32])), ..Filter::default() }, true),
            (Filter { actor: Some(PublicKey::new([3; 32])), ..Filter::default() }, false),
            (Filter { subject: Some(SubjectId::new([4; 32])), ..Filter::default() }, true),
            (Filter { subject: Some(SubjectId::new([3; 32])), ..Filter::default() }, false),
            (Filter { purpose: Some(DuoCode::Ds), ..Filter::default() }, true),
            (Filter { purpose: Some(DuoCode::Hmb), ..Filter::default() }, false),
            (Filter { outcome: Some("deny".to_owned()), ..Filter::default() }, true),
            (Filter { outcome: Some("allow".to_owned()), ..Filter::default() }, false),
        ];
        for (filter, taken) in parts {
            assert_eq!(filter.takes(&event), taken, "{filter:?}");
        }
    }

    #[test]
    fn a_bundle_covers_one_record_actor_or_subject_and_nothing_narrower() {
        let (record, actor) = (RecordId::new([3; 32]), PublicKey::new([2; 32]));
        assert!(Filter::default().is_head());
        let one = Filter { record: Some(record), ..Filter::default() };
        assert_eq!((one.head(), one.is_head()), (Some(HeadKey::Record(record)), true));
        let two = Filter { record: Some(record), actor: Some(actor), ..Filter::default() };
        assert_eq!((two.head(), two.is_head()), (Some(HeadKey::Record(record)), false));
        let narrow = Filter { outcome: Some("deny".to_owned()), ..Filter::default() };
        assert_eq!((narrow.head(), narrow.is_head()), (None, false));
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_refused() {
        assert!(Filter { from: Some(2), to: Some(1), ..Filter::default() }.check().is_err());
        assert!(Filter { from: Some(1), to: Some(1), ..Filter::default() }.check().is_ok());
    }
}
