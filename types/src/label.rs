//! Every domain label of the product, on one screen.
//!
//! A label says what a hash or a signature *means*. Two meanings never share a label, and no label
//! is a prefix of another, so bytes made for one place are worthless in every other.
//!
//! # Source
//! docs/spec/signing.md

/// Declares the labels and the list of all of them, so that the tests see each one.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = concat!("dmdl/v1/", $text);)*

        /// All labels, for the test that none is a prefix of another.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

labels! {
    /// Hash of the genesis document: the network's identity.
    GENESIS = "genesis";
    /// Hash that names a channel.
    CHANNEL_ID = "channel-id";
    /// Hash of a charter: the id of the channel that it founds.
    CHARTER = "charter-id";
    /// An admin's signature on a charter.
    CHARTER_SIGNATURE = "charter-sig";
    /// Hash of a transaction's body: its id.
    TRANSACTION_ID = "tx-id";
    /// An author's signature on a transaction.
    TRANSACTION_SIGNATURE = "tx-sig";
    /// Hash of a system transaction's body: its id.
    SYSTEM_ID = "system-id";
    /// Digest of a transaction with its authors' signatures: what endorsers sign.
    SIGNED_TRANSACTION = "signed-tx";
    /// Names a fault, so that it counts once.
    FAULT = "fault-id";
    /// A node's signature on a system transaction.
    SYSTEM_SIGNATURE = "system-sig";
    /// An endorser's signature.
    ENDORSEMENT = "endorse-sig";
    /// Digest of a block's body.
    BODY_HASH = "body-hash";
    /// Digest of a block's header: the block's digest.
    BLOCK_HASH = "block-hash";
    /// Digest of an epoch's configuration.
    CONFIGURATION = "epoch-config";
    /// Digest of what a client keeps of verified configurations.
    LINEAGE = "lineage";
    /// A node's signature on a backup of its own.
    BACKUP_SIGNATURE = "backup-sig";
    /// The namespace of consensus votes and certificates.
    VOTE = "vote";
    /// The namespace of connections between nodes.
    CONNECTION = "connection";
    /// Id of a record.
    RECORD_ID = "record-id";
    /// Id of a grant.
    GRANT_ID = "grant-id";
    /// Id of a policy.
    POLICY_ID = "policy-id";
    /// Pseudonym of a subject.
    SUBJECT_ID = "subject-id";
    /// Secret of an owner's key that pseudonyms are derived under.
    SUBJECT_SECRET = "subject-secret";
    /// Commitment to off-chain text.
    NOTE_COMMITMENT = "note-commitment";
    /// Digest of a dealing's public part.
    DEALING = "dealing-id";
    /// Digest of the shares of one epoch, and of who keeps them.
    SHARE_SET = "share-set";
    /// A custodian's signature on a one-time dealing key.
    DEALING_KEY = "prekey-sig";
    /// Data key of one record version, from its shared scalar.
    DATA_KEY = "dek";
    /// Second generator of the Pedersen commitments.
    PEDERSEN_H = "pedersen-H";
    /// HPKE info of a share on its way from dealer to custodian.
    SHARE_SEAL = "share-seal";
    /// HPKE info of a share on its way from custodian to requester.
    RELEASE_SEAL = "grant-seal";
    /// A custodian's signature on a released share.
    RELEASE_SIGNATURE = "release-sig";
    /// One-time key of a requester for one custodian.
    OPENING_KEY = "opening-key";
    /// Key that wraps one share at rest.
    SHARE_WRAP = "share-wrap";
    /// Digest of a sealed share.
    SEALED_SHARE = "sealed-share";
    /// A leaf of world state in the state hash.
    STATE_LEAF = "state-leaf";
    /// Digest of the state accumulator.
    STATE_ROOT = "state-root";
    /// Key of an index head.
    INDEX_KEY = "index-key";
    /// Value of an index head.
    INDEX_VALUE = "index-value";
    /// Inner node of the index tree.
    INDEX_NODE = "index-node";
    /// Link of an index head's rolling hash.
    INDEX_LINK = "index-link";
    /// Choice of the endorsers that are asked.
    ENDORSER_PANEL = "endorser-panel";
    /// Order in which a client asks custodians.
    CUSTODIAN_TURN = "custodian-turn";
    /// What a list's cursor belongs to.
    CURSOR = "cursor";
    /// HPKE info of a remark's key on its way to a reader.
    REMARK_SEAL = "remark-seal";
    /// Associated data of a remark's text.
    REMARK_TEXT = "remark-text";
    /// An author's signature on a sealed remark, or on taking one back.
    REMARK_SIGNATURE = "remark-sig";
    /// An owner's signature on the title of a record.
    TITLE_SIGNATURE = "title-sig";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn no_label_is_a_prefix_of_another() {
        for (i, a) in ALL.iter().enumerate() {
            for (j, b) in ALL.iter().enumerate() {
                assert!(i == j || !b.starts_with(a), "`{a}` is a prefix of `{b}`");
            }
        }
    }

    #[test]
    fn every_label_fits_the_one_byte_length_of_the_signing_formula() {
        assert!(ALL.iter().all(|label| label.len() < 128));
    }
}
