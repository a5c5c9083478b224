//! What nodes say to each other: a message has one encoding.

#[path = "../../../src/node/message.rs"]
#[allow(dead_code, reason = "only decoding is fuzzed")]
mod node;

use node::Message;

pub(super) fn run(data: &[u8]) {
    if let Ok(message) = Message::decode(data) {
        assert_eq!(message.encode(), data, "a second encoding");
        assert_eq!(Message::decode(&[data, &[0]].concat()).ok(), None, "a byte too many");
    }
}
