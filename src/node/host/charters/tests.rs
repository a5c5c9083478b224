use super::*;
use dmdl_types::{
    charter::Charter,
    genesis::ChannelConfig,
    id::{ChannelName, NetworkId, UnixMillis},
    mdca::MdcaConfig,
};
use std::os::unix::fs::PermissionsExt as _;

fn charter(seed: u8) -> SignedCharter {
    SignedCharter::new(Charter {
        version: 1,
        network: NetworkId::new([1; 32]),
        seed: [seed; 32],
        time: UnixMillis::new(2),
        members: Vec::new(),
        people: Vec::new(),
        channel: ChannelConfig {
            name: ChannelName::new("trial").unwrap(),
            epoch_blocks: 2,
            endorsements: 1,
            custody_threshold: 2,
            policy_engine: 1,
            mdca: MdcaConfig::default(),
        },
    })
}

#[test]
fn a_charter_that_is_kept_is_found_again_and_keeping_it_twice_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    make_folder(dir.path(), ChannelId::new([9; 32])).unwrap();
    assert!(kept(dir.path()).unwrap().is_empty(), "the first channel has none");
    keep(dir.path(), &charter(1)).unwrap();
    keep(dir.path(), &charter(1)).unwrap();
    assert_eq!(kept(dir.path()).unwrap(), [charter(1)]);
    let file = folder(dir.path(), charter(1).charter.id()).join(FILE);
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_charter_is_told() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), &charter(1)).unwrap();
    let file = folder(dir.path(), charter(1).charter.id()).join(FILE);
    for bytes in [&b"anything"[..], &[0; limits::CHARTER_BYTES + 1]] {
        fs::write(&file, bytes).unwrap();
        let error = kept(dir.path()).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
    }
}

#[test]
fn what_hosts_say_survives_its_encoding() {
    let channel = ChannelId::new([9; 32]);
    let messages = [
        Message::WhichNameMe,
        Message::Charter(Box::new(charter(1))),
        Message::StepsFrom(channel, Epoch::new(2)),
        Message::Steps(channel, Vec::new()),
    ];
    for message in messages {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes).unwrap().encode(), bytes);
    }
    assert!(Message::decode(&[4]).is_err());
}

#[test]
fn steps_may_fill_a_message_and_nothing_else_is_longer_than_a_charter() {
    let too_long = |tag: u8, len: usize| {
        let bytes: Vec<u8> = std::iter::once(tag).chain(std::iter::repeat_n(0, len - 1)).collect();
        matches!(Message::decode(&bytes), Err(DecodeError::TooLong { .. }))
    };
    assert_eq!(Message::Steps(ChannelId::new([9; 32]), Vec::new()).encode()[0], STEPS);
    assert!(!too_long(STEPS, MESSAGE_BYTES) && too_long(STEPS, MESSAGE_BYTES + 1));
    for tag in [0, 1, 2] {
        assert!(!too_long(tag, limits::CHARTER_BYTES + 1) && too_long(tag, limits::CHARTER_BYTES + 2), "{tag}");
    }
}
