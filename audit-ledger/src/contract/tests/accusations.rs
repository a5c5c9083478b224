use crate::{testing::*, world::FalseReleases};
use dmdl_types::{
    access::ReasonCode::{self, *},
    custody::SealedBytes,
    event::Verdict,
    id::{NodeId, ShareEpoch, TransactionId},
    invocation::{Access, Accusation, Authority},
};

fn accusation(decryption: TransactionId, custodian: NodeId) -> Accusation {
    let (released, opening_secret) = (SealedBytes(vec![7; 178]), DAMNING);
    Accusation { decryption, custodian, epoch: ShareEpoch::new(0), released, opening_secret }
}

#[test]
fn a_false_release_is_proved_once_by_its_requester_and_counts_against_its_custodian() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal { custodians: vec![1, 2, 3], ..Deal::default() });
    let keys = ledger.opening_keys(&[1, 2]);
    let version = dmdl_types::id::RecordVersion::new(1);
    ledger.access(&owner(1), Access::Decrypt { record, version, authority: Authority::Owner, keys });
    let decryption = ledger.last_transaction();
    let good = accusation(decryption, node_id(2));
    let accuse = |ledger: &mut Ledger, author: u8, accusation: Accusation| {
        ledger.access(&owner(author), Access::Accuse(Box::new(accusation)))
    };
    let unknown = TransactionId::new([1; 32]);
    let rows: [(&str, u8, Accusation, ReasonCode); 6] = [
        ("evidence that proves nothing", 1, Accusation { opening_secret: [0; 32], ..good.clone() }, AccusationRefuted),
        ("somebody else's decryption", 2, good.clone(), UnknownDecryption),
        ("none", 1, accusation(unknown, node_id(2)), UnknownDecryption),
        ("who keeps no share", 1, accusation(decryption, node_id(4)), NotCustodian),
        ("who was not asked", 1, accusation(decryption, node_id(3)), BadOpeningKey),
        ("another epoch", 1, Accusation { epoch: ShareEpoch::new(1), ..good.clone() }, NotCustodian),
    ];
    let before = ledger.state();
    for (name, author, accusation, code) in rows {
        let event = accuse(&mut ledger, author, accusation);
        assert_eq!(told(&event), (Verdict::Rejected, Some(code)), "{name}");
    }
    assert_eq!(ledger.state(), before);
    let event = accuse(&mut ledger, 1, good.clone());
    assert_eq!(told(&event), (Verdict::Applied, Some(CustodianFault)));
    assert_eq!((event.record, event.refers_to), (Some(record), Some(decryption)));
    assert_eq!(told(&accuse(&mut ledger, 1, good)).1, Some(Duplicate));
    accuse(&mut ledger, 1, accusation(decryption, node_id(1)));
    let counts: Vec<u32> =
        [1, 2, 3].map(|org| ledger.row::<FalseReleases>(&node_id(org)).unwrap_or_default().0).to_vec();
    assert_eq!(counts, [1, 1, 0]);
}
