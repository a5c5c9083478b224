//! Blocks: one digest, one block.

use super::{Seeds, fixtures::change, ledger};
use dmdl_types::{block::Block, codec, limits};

pub(super) fn run(data: &[u8]) {
    let decoded = Block::decode(data);
    if let Ok(block) = &decoded {
        assert_eq!(codec::encode(block), data, "a second encoding");
        assert_eq!(block.body.digest(), block.header.body, "a header with another body");
    }
    let Ok(mut block) = codec::decode::<Block>(data, limits::BLOCK_BYTES) else {
        assert!(decoded.is_err());
        return;
    };
    // With its own digest in the header, a body is a block's.
    block.header.body = block.body.digest();
    let bytes = codec::encode(&block);
    assert_eq!(Block::decode(&bytes).as_ref(), Ok(&block));

    let changed = change(&bytes);
    if let Ok(other) = Block::decode(&changed) {
        assert_eq!(other.digest() == block.digest(), changed == bytes, "two blocks of one digest");
        assert_eq!(other.body, block.body, "two bodies of one digest");
    }
    ledger::check_signed(&block.header.domain, &block.body.transactions, &block.body.system);
}

pub(super) fn seeds() -> Seeds {
    ledger::blocks().into_iter().map(|(name, block)| (name, codec::encode(&block))).collect()
}
