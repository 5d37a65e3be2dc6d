//! What the account has. Updates merge asset by asset; none replaces the whole.

use crate::rules::VENUE_DECIMALS;
use crate::wire::{Account, EventBalance};
use ringfence_ipc::symbol::parse_scaled;
use std::collections::BTreeMap;

/// Assets kept; the venue lists fewer.
const MAX_ASSETS: usize = 4_096;

/// One asset of the account, 1e-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Free to trade with.
    pub free_e8: i64,
    /// Bound in open orders.
    pub locked_e8: i64,
    /// When the venue last said so, ms since the Unix epoch, its clock.
    pub updated_ms: u64,
}

/// The account's assets by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balances(BTreeMap<String, Balance>);

impl Balances {
    /// The asset's balance; an asset that the venue never named is empty.
    #[must_use]
    pub fn get(&self, asset: &str) -> Balance {
        self.0.get(asset).copied().unwrap_or_default()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Balance)> {
        self.0.iter().map(|(asset, balance)| (asset.as_str(), *balance))
    }

    fn merge(&mut self, asset: &str, free: &str, locked: &str, updated_ms: u64) {
        let numbers = (parse_scaled(free, VENUE_DECIMALS), parse_scaled(locked, VENUE_DECIMALS));
        let (Ok(free_e8), Ok(locked_e8)) = numbers else { return };
        let known = self.0.get(asset).map_or(0, |balance| balance.updated_ms);
        if updated_ms >= known && (self.0.contains_key(asset) || self.0.len() < MAX_ASSETS) {
            self.0.insert(asset.to_owned(), Balance { free_e8, locked_e8, updated_ms });
        }
    }

    /// An `outboundAccountPosition`: the assets that may have changed. True: one of the same millisecond had said
    /// something else, and nobody knows which was the last; the account does.
    pub(crate) fn update(&mut self, balances: &[EventBalance], updated_ms: u64) -> bool {
        let mut in_doubt = false;
        for balance in balances {
            let before = self.0.get(&balance.asset).copied();
            self.merge(&balance.asset, &balance.free, &balance.locked, updated_ms);
            in_doubt |= before.is_some_and(|b| b.updated_ms == updated_ms && b != self.get(&balance.asset));
        }
        in_doubt
    }

    /// A `balanceUpdate`: a deposit, withdrawal or transfer. One that the asset's balance already counts is left out.
    pub(crate) fn add(&mut self, asset: &str, delta: &str, clear_ms: u64) {
        let Ok(delta_e8) = parse_scaled(delta, VENUE_DECIMALS) else { return };
        if let Some(balance) = self.0.get_mut(asset)
            && clear_ms > balance.updated_ms
        {
            balance.free_e8 = balance.free_e8.saturating_add(delta_e8);
            balance.updated_ms = clear_ms;
        }
    }

    /// The account as REST shows it. What it leaves out is empty, unless an event of later says otherwise.
    pub(crate) fn snapshot(&mut self, account: &Account) {
        for balance in &account.balances {
            self.merge(&balance.asset, &balance.free, &balance.locked, account.update_time);
        }
        self.0.retain(|asset, balance| {
            balance.updated_ms > account.update_time
                || account.balances.iter().any(|known| known.asset == *asset)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_merge_and_never_go_back() {
        let mut balances = Balances::default();
        let account: Account = serde_json::from_str(
            r#"{"updateTime":10,"balances":[{"asset":"BTC","free":"1.0","locked":"0"},
                {"asset":"USDT","free":"100","locked":"5"}]}"#,
        )
        .expect("an account");
        balances.snapshot(&account);
        let event = |asset: &str, free: &str| EventBalance {
            asset: asset.to_owned(),
            free: free.to_owned(),
            locked: "0".to_owned(),
        };
        balances.update(&[event("BTC", "2")], 20);
        balances.update(&[event("BTC", "1.5")], 15);
        balances.add("USDT", "7", 30);
        balances.snapshot(&account);
        assert_eq!(balances.get("BTC").free_e8, 200_000_000);
        assert_eq!(
            balances.get("USDT"),
            Balance { free_e8: 10_700_000_000, locked_e8: 500_000_000, updated_ms: 30 }
        );
        balances.update(&[event("BTC", "NaN")], 40);
        assert_eq!(balances.get("BTC").free_e8, 200_000_000);
    }

    #[test]
    fn two_updates_of_one_millisecond_that_differ_are_in_doubt() {
        let mut balances = Balances::default();
        let said = |free: &str| EventBalance { asset: "BTC".into(), free: free.into(), locked: "0".into() };
        assert!(!balances.update(&[said("1")], 10));
        assert!(!balances.update(&[said("1")], 10), "said twice");
        assert!(!balances.update(&[said("2")], 11));
        assert!(balances.update(&[said("3")], 11));
        assert!(!balances.update(&[said("9")], 5), "older than what is known");
        assert_eq!(balances.get("BTC").free_e8, 300_000_000);
    }
}
