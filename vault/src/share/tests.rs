//! Dealing, verifying, combining and resharing, over the real field.

use super::*;
use dmdl_types::{
    context::{DataContext, ShareContext},
    id::{ChannelId, NetworkId, NodeId, RecordId, RecordVersion, ShareEpoch},
    secret::Secret32,
};
use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::ChaCha20Rng};

const THRESHOLDS: [(u8, u8); 3] = [(2, 3), (2, 4), (3, 7)];

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn threshold((k, n): (u8, u8)) -> Threshold {
    Threshold::new(k, n).unwrap()
}

fn data(record: u8) -> DataContext {
    DataContext {
        network: NetworkId::new([1; 32]),
        channel: ChannelId::new([2; 32]),
        record: RecordId::new([record; 32]),
        version: RecordVersion::new(1),
    }
}

struct Case {
    dealt: Dealt,
    dealing: CheckedDealing,
    key: [u8; 32],
}

fn case(seed: u64, numbers: (u8, u8)) -> Case {
    let dealt = deal(&mut rng(seed), threshold(numbers)).unwrap();
    let dealing = CheckedDealing::new(dealt.commitments().clone(), data(3), ShareEpoch::new(0));
    let key = bytes_of(&dealt.data_key(&data(3)));
    Case { dealt, dealing, key }
}

impl Case {
    fn share(&self, x: u8) -> Share {
        copy(&self.dealt.shares()[usize::from(x) - 1])
    }

    fn verified(&self, xs: &[u8]) -> Vec<VerifiedShare> {
        xs.iter().map(|x| self.dealing.verify(self.share(*x)).unwrap()).collect()
    }

    fn context(&self, x: u8) -> ShareContext {
        self.dealing.context(NodeId::new([x; 32]), ShareIndex::new(x))
    }
}

fn copy(share: &Share) -> Share {
    share.expose(|bytes| Share::from_bytes(bytes)).unwrap()
}

fn altered(share: &Share, change: impl FnOnce(&mut [u8; Share::LEN])) -> Result<Share, ShareError> {
    let mut bytes = share.expose(|bytes| *bytes);
    change(&mut bytes);
    Share::from_bytes(&bytes)
}

fn bytes_of(secret: &Secret32) -> [u8; 32] {
    secret.expose(|bytes| *bytes)
}

/// All subsets of 1..=n of this size, ascending.
fn subsets(n: u8, size: u8) -> Vec<Vec<u8>> {
    let chosen = |mask: u32| (1..=n).filter(move |x| mask >> x & 1 == 1);
    (0..1u32 << (n + 1))
        .filter(|mask| mask & 1 == 0 && mask.count_ones() == u32::from(size))
        .map(|mask| chosen(mask).collect())
        .collect()
}

/// All orders of a few items.
fn orders(items: &[u8]) -> Vec<Vec<u8>> {
    if items.len() < 2 {
        return vec![items.to_vec()];
    }
    let mut out = Vec::new();
    for (i, first) in items.iter().enumerate() {
        let rest: Vec<_> = items[..i].iter().chain(&items[i + 1..]).copied().collect();
        out.extend(orders(&rest).into_iter().map(|order| [&[*first], &order[..]].concat()));
    }
    out
}

#[test]
fn any_k_shares_in_any_order_give_the_dealt_key() {
    for (numbers, expected) in THRESHOLDS.into_iter().zip([6, 12, 210]) {
        let case = case(3, numbers);
        let mut tried = 0;
        for subset in subsets(numbers.1, numbers.0) {
            for order in orders(&subset) {
                let key = combine(&case.dealing, &case.verified(&order)).unwrap();
                assert_eq!(bytes_of(&key), case.key, "{order:?} of {numbers:?}");
                tried += 1;
            }
        }
        assert_eq!(tried, expected);
    }
}

#[test]
fn more_than_k_shares_give_the_same_key() {
    let case = case(4, (3, 7));
    let key = combine(&case.dealing, &case.verified(&[7, 6, 5, 4, 3, 2, 1])).unwrap();
    assert_eq!(bytes_of(&key), case.key);
}

#[test]
fn fewer_than_k_shares_are_refused() {
    for numbers in THRESHOLDS {
        let case = case(5, numbers);
        for size in 0..numbers.0 {
            for subset in subsets(numbers.1, size) {
                let refused = combine(&case.dealing, &case.verified(&subset)).unwrap_err();
                assert_eq!(refused, CombineError::TooFew { got: subset.len(), needed: numbers.0 });
            }
        }
    }
}

#[test]
fn the_largest_committee_works() {
    let case = case(6, (128, 255));
    let xs: Vec<_> = (128..=255).collect();
    assert_eq!(bytes_of(&combine(&case.dealing, &case.verified(&xs)).unwrap()), case.key);
}

#[test]
fn a_share_that_came_twice_is_named() {
    let case = case(7, (2, 4));
    assert_eq!(
        combine(&case.dealing, &case.verified(&[3, 3])).unwrap_err(),
        CombineError::Duplicate { index: ShareIndex::new(3) }
    );
    // Also when enough different ones are there.
    assert_eq!(
        combine(&case.dealing, &case.verified(&[1, 2, 4, 2])).unwrap_err(),
        CombineError::Duplicate { index: ShareIndex::new(2) }
    );
}

#[test]
fn shares_of_two_dealings_do_not_combine() {
    let (one, other) = (case(8, (2, 4)), case(9, (2, 4)));
    let mut mixed = one.verified(&[1]);
    mixed.extend(other.verified(&[2]));
    assert_eq!(combine(&one.dealing, &mixed).unwrap_err(), CombineError::OtherDealing { index: ShareIndex::new(2) });
}

/// The same commitments under another record, epoch or number of custodians are another dealing.
#[test]
fn a_share_verified_for_another_record_epoch_or_committee_does_not_combine() {
    let case = case(10, (2, 4));
    let commitments = case.dealt.commitments().clone();
    let wider = Commitments::parse(threshold((2, 5)), commitments.as_bytes()).unwrap();
    for other in [
        CheckedDealing::new(commitments.clone(), data(4), ShareEpoch::new(0)),
        CheckedDealing::new(commitments, data(3), ShareEpoch::new(1)),
        CheckedDealing::new(wider, data(3), ShareEpoch::new(0)),
    ] {
        let mut shares = case.verified(&[1]);
        shares.push(other.verify(case.share(2)).unwrap());
        assert_eq!(
            combine(&case.dealing, &shares).unwrap_err(),
            CombineError::OtherDealing { index: ShareIndex::new(2) }
        );
    }
}

#[test]
fn a_share_of_another_dealing_is_refused_by_its_index() {
    let (one, other) = (case(11, (2, 4)), case(12, (2, 4)));
    for x in 1..=4 {
        let refused = one.dealing.verify(other.share(x)).unwrap_err();
        assert_eq!(refused, VerifyError::NotCommitted { index: ShareIndex::new(x) });
        assert_eq!(refused.culprit().get(), x);
    }
}

/// Every position of every share but its own.
#[test]
fn a_share_under_another_index_is_refused() {
    let case = case(13, (3, 7));
    for x in 1..=7 {
        for y in 0..=u8::MAX {
            let moved = altered(&case.share(x), |bytes| bytes[0] = y);
            match y {
                0 => assert_eq!(moved.unwrap_err(), ShareError::IndexZero),
                1..=7 if x == y => assert!(case.dealing.verify(moved.unwrap()).is_ok()),
                1..=7 => assert_eq!(
                    case.dealing.verify(moved.unwrap()).unwrap_err(),
                    VerifyError::NotCommitted { index: ShareIndex::new(y) }
                ),
                _ => assert_eq!(
                    case.dealing.verify(moved.unwrap()).unwrap_err(),
                    VerifyError::BeyondThreshold { index: ShareIndex::new(y), n: 7 }
                ),
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_share_is_refused() {
    let case = case(14, (2, 4));
    for bit in 0..Share::LEN * 8 {
        let flipped = altered(&case.share(2), |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let refused = flipped.map_or(true, |share| case.dealing.verify(share).is_err());
        assert!(refused, "bit {bit}");
    }
}

#[test]
fn bytes_that_are_no_share_are_refused() {
    let case = case(15, (2, 4));
    let bytes = case.share(1).expose(|bytes| bytes.to_vec());
    for got in (0..Share::LEN).chain([Share::LEN + 1]) {
        let cut: Vec<_> = bytes.iter().copied().chain([0]).take(got).collect();
        assert_eq!(Share::from_bytes(&cut).unwrap_err(), ShareError::WrongLength { got });
    }
    // The group's order, and all ones, are no scalars.
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    for offset in [1, 33] {
        for scalar in [&order[..], &[0xff; 32]] {
            let bad = altered(&case.share(1), |bytes| bytes[offset..offset + 32].copy_from_slice(scalar));
            assert_eq!(bad.unwrap_err(), ShareError::NonCanonical { index: 1 });
        }
    }
}

#[test]
fn commitments_are_k_canonical_points_none_of_them_the_identity() {
    let case = case(16, (3, 7));
    let good = case.dealt.commitments().as_bytes().to_vec();
    let parse = |bytes: &[[u8; 32]]| Commitments::parse(threshold((3, 7)), bytes);
    assert!(parse(&good).is_ok());
    assert_eq!(parse(&good[..2]).unwrap_err(), CommitmentError::WrongCount { got: 2, needed: 3 });
    assert_eq!(parse(&[]).unwrap_err(), CommitmentError::WrongCount { got: 0, needed: 3 });
    let long = [&good[..], &good[..1]].concat();
    assert_eq!(parse(&long).unwrap_err(), CommitmentError::WrongCount { got: 4, needed: 3 });
    for position in 0..3 {
        let mut bad = good.clone();
        bad[position] = [0xff; 32];
        assert_eq!(parse(&bad).unwrap_err(), CommitmentError::NotAPoint { position });
        bad[position] = [0; 32];
        assert_eq!(parse(&bad).unwrap_err(), CommitmentError::Identity { position });
    }
}

#[test]
fn a_dealing_is_read_back_only_from_its_own_context_and_commitments() {
    let case = case(17, (2, 4));
    let bytes = case.dealt.commitments().as_bytes();
    let context = case.context(2);
    assert_eq!(CheckedDealing::of_context(&context, bytes), Ok(case.dealing.clone()));
    let swapped = [bytes[1], bytes[0]];
    assert_eq!(CheckedDealing::of_context(&context, &swapped), Err(DealingError::OtherDealing));
    let later = ShareContext { epoch: ShareEpoch::new(1), ..context };
    assert_eq!(CheckedDealing::of_context(&later, bytes), Err(DealingError::OtherDealing));
    let small = ShareContext { n: 2, ..context };
    assert!(matches!(CheckedDealing::of_context(&small, bytes), Err(DealingError::Threshold(_))));
    assert!(matches!(CheckedDealing::of_context(&context, &bytes[..1]), Err(DealingError::Commitments(_))));
}

/// Chi-square over two bytes of 25,600 shares of one secret at one position: 255 degrees of
/// freedom, so that a mean of 255 and a deviation of 22.6 are expected; the bound is five deviations.
/// Fields small enough to be exhausted are in `polynomial/tests.rs`.
#[test]
fn shares_of_one_secret_are_spread_evenly() {
    let mut rng = rng(18);
    let fixed = Scalar::from(42u8);
    let mut counts = [[0u32; 256]; 2];
    for _ in 0..25_600 {
        let coefficients = [fixed, Scalar::random(&mut rng)];
        let value = polynomial::evaluate(&coefficients, 1);
        counts[0][usize::from(value.as_bytes()[0])] += 1;
        counts[1][usize::from(value.as_bytes()[17])] += 1;
    }
    for counts in counts {
        let chi_square: f64 = counts.iter().map(|count| (f64::from(*count) - 100.0).powi(2) / 100.0).sum();
        assert!((142.0..368.0).contains(&chi_square), "{chi_square}");
    }
}

/// A generator that answers the same for ever.
struct Constant(u8);

impl rand_core::TryRng for Constant {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from_le_bytes([self.0; 4]))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from_le_bytes([self.0; 8]))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.fill(self.0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Constant {}

#[test]
fn a_stuck_generator_deals_nothing() {
    for byte in [0, 1, 0xff] {
        assert_eq!(deal(&mut Constant(byte), threshold((2, 4))).unwrap_err(), DealError::StuckRandomness);
    }
}

/// A generator that fails, as the operating system's may.
struct Failing;

#[derive(Debug, thiserror::Error)]
#[error("no randomness")]
struct NoRandomness;

impl rand_core::TryRng for Failing {
    type Error = NoRandomness;
    fn try_next_u32(&mut self) -> Result<u32, NoRandomness> {
        Err(NoRandomness)
    }
    fn try_next_u64(&mut self) -> Result<u64, NoRandomness> {
        Err(NoRandomness)
    }
    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), NoRandomness> {
        Err(NoRandomness)
    }
}

impl rand_core::TryCryptoRng for Failing {}

#[test]
#[should_panic(expected = "no randomness")]
fn a_generator_that_fails_is_fatal_before_anything_is_dealt() {
    let _ = deal(&mut rand_core::UnwrapErr(Failing), threshold((2, 4)));
}

#[test]
fn a_wrapped_share_opens_only_with_its_key_and_context() {
    let case = case(19, (2, 4));
    let [share]: [_; 1] = case.verified(&[2]).try_into().unwrap();
    let (key, context) = (Secret32::new([5; 32]), case.context(2));
    let wrapped = WrappedShare::seal(&mut rng(1), &share, &key, &context).unwrap();
    let opened = wrapped.open(&key, &context).unwrap();
    assert_eq!(opened.expose(|bytes| *bytes), share.share().expose(|bytes| *bytes));

    assert_eq!(wrapped.open(&Secret32::new([6; 32]), &context).unwrap_err(), WrapError::NotOpened);
    for other in crate::seal::tests::altered_share_contexts(&context) {
        assert_eq!(wrapped.open(&key, &other).unwrap_err(), WrapError::NotOpened, "{other:?}");
    }
    let bytes = borsh::to_vec(&wrapped).unwrap();
    assert_eq!(bytes.len(), 93);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let flipped: WrappedShare = borsh::from_slice(&flipped).unwrap();
        assert_eq!(flipped.open(&key, &context).unwrap_err(), WrapError::NotOpened, "bit {bit}");
    }
}

#[test]
fn a_share_is_wrapped_only_for_its_own_context() {
    let case = case(20, (2, 4));
    let [share]: [_; 1] = case.verified(&[2]).try_into().unwrap();
    let refused = WrappedShare::seal(&mut rng(1), &share, &Secret32::new([5; 32]), &case.context(3));
    assert_eq!(refused.unwrap_err(), WrapError::OtherShare);
}

#[test]
fn secrets_do_not_print_their_bytes() {
    let case = case(21, (2, 4));
    let [share]: [_; 1] = case.verified(&[2]).try_into().unwrap();
    let printed = format!("{:?} {:?} {:?}", case.dealt, share, share.share());
    assert!(printed.contains("Share(2, redacted)"), "{printed}");
    let value = hex::encode(share.share().expose(|bytes| bytes[1..33].to_vec()));
    assert!(!printed.contains(&value));
}

mod reshare {
    use super::*;

    struct Reshared {
        parts: Vec<SubDealing>,
        dealing: CheckedDealing,
        shares: Vec<VerifiedShare>,
    }

    fn part(case: &Case, from: u8, numbers: (u8, u8), seed: u64) -> (SubDealing, Vec<Share>) {
        let [share]: [_; 1] = case.verified(&[from]).try_into().unwrap();
        let (commitments, shares) = SubDealing::deal(&mut rng(seed), &share, threshold(numbers)).unwrap();
        let part = SubDealing::check(&case.dealing, ShareIndex::new(from), commitments).unwrap();
        (part, shares)
    }

    fn reshare(case: &Case, holders: &[u8], numbers: (u8, u8)) -> Reshared {
        let dealt: Vec<_> = holders.iter().map(|from| part(case, *from, numbers, 100 + u64::from(*from))).collect();
        let parts: Vec<_> = dealt.iter().map(|(part, _)| part.clone()).collect();
        let dealing = merge_commitments(&parts).unwrap();
        let shares = (0..usize::from(numbers.1)).map(|x| {
            let received = dealt.iter().map(|(part, shares)| part.dealing().verify(copy(&shares[x])).unwrap());
            let merged = merge_shares(&parts, &received.collect::<Vec<_>>()).unwrap();
            dealing.verify(merged).unwrap()
        });
        let shares = shares.collect();
        Reshared { parts, dealing, shares }
    }

    #[test]
    fn every_new_subset_gives_the_old_key_from_every_choice_of_holders() {
        let case = case(30, (2, 4));
        for holders in subsets(4, 2) {
            for numbers in [(2, 3), (3, 5)] {
                let mut new = reshare(&case, &holders, numbers);
                assert_eq!(new.dealing.commitments().as_bytes()[0], case.dealt.commitments().as_bytes()[0]);
                assert_ne!(new.dealing.id(), case.dealing.id());
                while new.shares.len() >= usize::from(numbers.0) {
                    assert_eq!(bytes_of(&combine(&new.dealing, &new.shares).unwrap()), case.key);
                    new.shares.remove(0);
                }
            }
        }
    }

    #[test]
    fn old_and_new_shares_do_not_mix() {
        let case = case(31, (2, 4));
        let mut new = reshare(&case, &[1, 3], (2, 4));
        assert!(new.dealing.verify(case.share(2)).is_err());
        let mut mixed = case.verified(&[1]);
        mixed.extend(new.shares.drain(1..2));
        assert_eq!(
            combine(&case.dealing, &mixed).unwrap_err(),
            CombineError::OtherDealing { index: ShareIndex::new(2) }
        );
    }

    #[test]
    fn a_holder_that_deals_anything_but_its_share_is_named() {
        let case = case(32, (2, 4));
        let [share]: [_; 1] = case.verified(&[1]).try_into().unwrap();
        let (commitments, _) = SubDealing::deal(&mut rng(1), &share, threshold((2, 4))).unwrap();
        let check = |from, commitments| SubDealing::check(&case.dealing, ShareIndex::new(from), commitments);
        assert!(check(1, commitments.clone()).is_ok());
        let from = ShareIndex::new(2);
        assert_eq!(check(2, commitments.clone()).unwrap_err(), ReshareError::NotItsShare { from });
        let made_up = deal(&mut rng(2), threshold((2, 4))).unwrap().commitments().clone();
        assert_eq!(check(2, made_up).unwrap_err(), ReshareError::NotItsShare { from });
        for from in [0, 5, 255] {
            let refused = check(from, commitments.clone()).unwrap_err();
            assert_eq!(refused, ReshareError::NoSuchHolder { from: ShareIndex::new(from) });
        }
    }

    #[test]
    fn a_reshare_takes_one_part_each_of_exactly_k_holders() {
        let case = case(33, (2, 4));
        let parts: Vec<_> = (1..=3).map(|from| part(&case, from, (2, 4), u64::from(from)).0).collect();
        let refused = ReshareError::WrongParts { needed: 2 };
        assert_eq!(merge_commitments(&parts).unwrap_err(), refused);
        assert_eq!(merge_commitments(&parts[..1]).unwrap_err(), refused);
        assert_eq!(merge_commitments(&[parts[0].clone(), parts[0].clone()]).unwrap_err(), refused);
        assert!(merge_commitments(&[]).is_err());
        let wider = part(&case, 2, (2, 5), 9).0;
        assert_eq!(merge_commitments(&[parts[0].clone(), wider]).unwrap_err(), refused);
        let foreign = part(&super::case(34, (2, 4)), 2, (2, 4), 9).0;
        assert_eq!(merge_commitments(&[parts[0].clone(), foreign]).unwrap_err(), refused);
    }

    #[test]
    fn shares_that_do_not_belong_to_the_parts_are_refused() {
        let case = case(35, (2, 4));
        let new = reshare(&case, &[1, 2], (2, 4));
        let of = |from: u8, x: usize| {
            let (part, shares) = part(&case, from, (2, 4), 100 + u64::from(from));
            part.dealing().verify(copy(&shares[x])).unwrap()
        };
        assert!(merge_shares(&new.parts, &[of(1, 0), of(2, 0)]).is_ok());
        for wrong in [vec![], vec![of(1, 0)], vec![of(2, 0), of(1, 0)], vec![of(1, 0), of(2, 1)]] {
            assert_eq!(merge_shares(&new.parts, &wrong).unwrap_err(), ReshareError::WrongShares);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_wrong_value_or_blinding_is_refused(seed: u64, x in 1u8..=4, value: bool, by in 1u64..) {
        let case = case(seed, (2, 4));
        let mut share = case.share(x);
        let part = if value { &mut share.value } else { &mut share.blinding };
        *part += Scalar::from(by);
        prop_assert_eq!(case.dealing.verify(share).unwrap_err(), VerifyError::NotCommitted { index: ShareIndex::new(x) });
    }

    #[test]
    fn no_bytes_make_the_share_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(share) = Share::from_bytes(&bytes) {
            prop_assert_eq!(share.expose(|again| again.to_vec()), bytes);
        }
    }
}
