//! MDCA on the BFT engine: reputation decides who proposes, the whole committee votes.
//!
//! This is the only place in the product that names the engine's types. [`Engine::start`] wires one
//! ledger channel: votes and certificates ([`orchestrator`]), blocks and their archive, the turns
//! of the schedule ([`elector`]), and the fences that keep a channel among its members
//! ([`members`]). It runs alike on a real machine and in the deterministic simulator. What a block
//! means is the [`Ledger`]'s business.

mod application;
mod archive;
mod block;
mod delivery;
mod elector;
mod engine;
mod handshake;
mod keys;
mod ledger;
mod links;
mod members;
mod network;
mod orchestrator;
mod post;
mod schemes;
mod timely;
mod timing;
mod votes;
mod wire;

pub(crate) use archive::{epoch_of_votes, is_archive, is_let_go, is_of_votes, lets_blocks_go};
pub use block::{BlockError, EngineBlock};
pub use engine::{Chain, Config, Engine, Runtime, StartError, message_bytes_max};
pub use ledger::{Floor, Halt, Ledger, Turn, Vote};
pub use links::{Ends, Links, Seat, SeatError, SeatLinks, Seats};
pub use members::{EPOCHS_BEHIND, Members, Silence};
pub use network::{Network, NetworkConfig, NetworkSender, Peer, PeerError, Peers, WIRE_BYTES_MAX};
pub use post::Post;
pub use timing::{CLOCK_BOUND_MS, Timing, TimingError};
pub use wire::{WireReceiver, WireSender};
