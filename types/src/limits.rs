//! How large things may be, in one place, with the relations between them asserted.

/// Largest encoded transaction with its signatures and endorsements.
pub const TRANSACTION_BYTES: usize = 64 * 1024;
/// Largest encoded system transaction.
pub const SYSTEM_TRANSACTION_BYTES: usize = 64 * 1024;
/// Largest encoded block.
pub const BLOCK_BYTES: usize = 1024 * 1024;
/// What a block may use for transactions; the rest is for its header and system transactions.
pub const BLOCK_TRANSACTIONS_BYTES: usize = 640 * 1024;
/// What a block may use for system transactions.
pub const BLOCK_SYSTEM_BYTES: usize = 256 * 1024;
/// Largest encoded block header: two cosigned checkpoints' worth of a large network.
pub const HEADER_BYTES: usize = 64 * 1024;
/// Largest encoded genesis document.
pub const GENESIS_BYTES: usize = 1024 * 1024;
/// Largest encoded charter with its approvals: it travels in one message between nodes.
pub const CHARTER_BYTES: usize = 128 * 1024;
/// Largest text of a policy's rules.
pub const POLICY_BYTES: usize = 16 * 1024;
/// Largest encoded audit event: one leaf.
pub const EVENT_BYTES: usize = 8 * 1024;
/// Largest bundle that is read into memory at once.
pub const BUNDLE_BYTES: usize = 2 * 1024 * 1024 * 1024 - 1;
/// Largest encoded step from one epoch's configuration to the next.
pub const EPOCH_STEP_BYTES: usize = 1024 * 1024;
/// Most steps that a gateway shows at once.
pub const EPOCH_STEPS: usize = 32;
/// Most bytes of steps that a gateway shows at once, beyond the first one.
pub const EPOCH_STEPS_BYTES: usize = 1024 * 1024;
/// Largest encoded lineage that a client keeps.
pub const LINEAGE_BYTES: usize = 16 * 1024 * 1024;
/// Largest piece of a backup: whatever a snapshot is told in fits.
pub const BACKUP_PIECE_BYTES: usize = 2 * 1024 * 1024;
/// Most authors of one transaction.
pub const AUTHORS: usize = 16;
/// Most endorsements of one transaction.
pub const ENDORSEMENTS: usize = 32;
/// Most items of one system transaction.
pub const SYSTEM_ITEMS: usize = 256;
/// Most evidence that one node may show in one epoch.
pub const EVIDENCE_PER_EPOCH: u32 = 64;
/// Longest evidence: a system transaction has room for it.
pub const EVIDENCE_BYTES: usize = 56 * 1024;
/// Most diseases of one permission.
pub const DISEASES: usize = 64;
/// Most reasons of one outcome.
pub const REASONS: usize = 32;
/// Longest media type.
pub const MEDIA_TYPE_BYTES: usize = 127;
/// Longest text of a remark.
pub const REMARK_BYTES: usize = 4096;
/// Most people that a remark is sealed to.
pub const REMARK_READERS: usize = 128;
/// Longest title of a record.
pub const TITLE_BYTES: usize = 256;
/// How long after its registration a version may become active, in milliseconds of block time.
pub const REGISTRATION_MS: u64 = 24 * 60 * 60 * 1000;
/// Most custodians that a key is handed on to.
pub const RESHARE_CUSTODIANS: usize = 64;
/// How long a dealer may take to show a share of its part that a custodian misses, in milliseconds of block time.
pub const PART_ANSWER_MS: u64 = 10_000;
/// How far ahead of the tip a transaction may set its expiry, in blocks.
pub const EXPIRY_BLOCKS: u64 = 10_000;

const _: () = assert!(BLOCK_TRANSACTIONS_BYTES + BLOCK_SYSTEM_BYTES + HEADER_BYTES <= BLOCK_BYTES);
const _: () = assert!(TRANSACTION_BYTES <= BLOCK_TRANSACTIONS_BYTES);
const _: () = assert!(SYSTEM_TRANSACTION_BYTES <= BLOCK_SYSTEM_BYTES);
const _: () = assert!(EPOCH_STEP_BYTES + BLOCK_BYTES <= BACKUP_PIECE_BYTES);
const _: () = assert!(POLICY_BYTES < TRANSACTION_BYTES);
const _: () = assert!(EVIDENCE_BYTES + 1024 < SYSTEM_TRANSACTION_BYTES);
