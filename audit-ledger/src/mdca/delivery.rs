//! Hands final blocks from the engine's archive to the loop that executes them.

use super::block::EngineBlock;
use commonware_actor::Feedback;
use commonware_consensus::{Reporter, marshal::Update};
use commonware_utils::{acknowledgement::Exact, channel::mpsc};

/// A final block and the engine's receipt for it, to be signed once the block is executed.
pub(super) type Delivery = (EngineBlock, Exact);

/// The sending end.
///
/// The queue needs no bound of its own: the archive hands out no more blocks than it may have
/// unacknowledged at a time.
#[derive(Clone)]
pub(super) struct Deliveries(mpsc::UnboundedSender<Delivery>);

impl Deliveries {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Delivery>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }
}

impl Reporter for Deliveries {
    type Activity = Update<EngineBlock>;

    fn report(&mut self, update: Update<EngineBlock>) -> Feedback {
        match update {
            Update::Tip(..) => Feedback::Ok,
            Update::Block(block, acknowledgement) => match self.0.send((block.inner().clone(), acknowledgement)) {
                Ok(()) => Feedback::Ok,
                Err(_) => Feedback::Closed,
            },
        }
    }
}
