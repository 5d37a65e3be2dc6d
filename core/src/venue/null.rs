//! The null venue: answers at once and remembers nothing, so that a bench measures the gate alone.

use super::answer;
use ringfence_ipc::msg::{Command, CommandKind, OrderState, Report, ReportKind};
use ringfence_ipc::reason::Reason;

/// Expires every order for want of liquidity and refuses every cancel: exposure and open orders stay bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NullVenue;

impl NullVenue {
    /// Answers `command` with exactly one report, appended to `out`. `now_ns` is gate time.
    pub fn on_command(self, command: &Command, now_ns: u64, out: &mut Vec<Report>) {
        out.push(Self::answer(command, now_ns));
    }

    /// The one report that answers `command` at `now_ns`, gate time: what a caller without a `Vec` uses.
    #[must_use]
    pub fn answer(command: &Command, now_ns: u64) -> Report {
        match command.kind {
            CommandKind::New | CommandKind::Reenter | CommandKind::Query => {
                answer(command, ReportKind::Expired, OrderState::Expired, Reason::NoLiquidity, now_ns)
            }
            CommandKind::Cancel | CommandKind::Amend => answer(
                command,
                ReportKind::CancelRejected,
                OrderState::Unknown,
                Reason::VenueUnknownOrder,
                now_ns,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_ipc::msg::{OrderType, Side, Tif};

    #[test]
    fn every_command_gets_exactly_one_final_answer() {
        let mut command = Command {
            kind: CommandKind::New,
            order_id: 7,
            symbol: 2,
            side: Side::Sell,
            order_type: OrderType::Limit,
            tif: Tif::Gtc,
            flags: 0,
            price: 10,
            qty: 5,
            now_ns: 1,
            key: 99 << 64 | 98,
        };
        let mut out = Vec::new();
        NullVenue.on_command(&command, 3, &mut out);
        command.kind = CommandKind::Cancel;
        NullVenue.on_command(&command, 4, &mut out);
        let seen: Vec<_> =
            out.iter().map(|r| (r.kind, r.reason, r.order_id, r.key_low, r.leaves_qty)).collect();
        assert_eq!(
            seen,
            [
                (ReportKind::Expired, Reason::NoLiquidity, 7, 98, 0),
                (ReportKind::CancelRejected, Reason::VenueUnknownOrder, 7, 98, 0)
            ]
        );
    }
}
