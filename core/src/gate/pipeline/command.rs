//! Step 5: what goes to the venue. Takes nothing but what `risk` approved.

use ringfence_ipc::msg::{Command, CommandKind, IntentKind, intent_flags};

use super::exposure::{Flattening, Target};
use super::risk::Approved;

/// The venue's command; `None`: nothing leaves now (a mass cancel's cancels follow one by one, and the cancel of a key
/// that nobody has used yet only reserves it).
#[inline(always)]
pub(in crate::gate) fn build(approved: &Approved<'_>) -> Option<Command> {
    let sized = &approved.sized;
    let (intent, now_ns) = (&sized.intent, sized.origin.req.now_ns);
    let new = Command {
        kind: CommandKind::New,
        order_id: approved.order_id,
        symbol: intent.symbol,
        side: sized.side,
        order_type: intent.order_type,
        tif: intent.tif,
        flags: intent.flags & intent_flags::POST_ONLY,
        price: intent.price,
        qty: sized.qty,
        now_ns,
        key: intent.key,
    };
    match (intent.kind, sized.target) {
        (IntentKind::New, _) => Some(new),
        (IntentKind::ForceFlat, _) => Some(Command {
            order_type: Flattening::ORDER_TYPE,
            tif: Flattening::TIF,
            flags: 0,
            price: 0,
            ..new
        }),
        (IntentKind::Cancel, Target::Open(order)) => {
            Some(order.command(CommandKind::Cancel, order.price, order.qty, now_ns))
        }
        (IntentKind::Amend, Target::Open(order)) => {
            Some(order.command(CommandKind::Amend, intent.price, intent.qty, now_ns))
        }
        (IntentKind::Cancel | IntentKind::Amend | IntentKind::MassCancel, _) => None,
    }
}
