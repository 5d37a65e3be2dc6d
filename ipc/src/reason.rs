//! Why the gate said no: stable codes, one number and one name each, never reused.

use std::fmt;

macro_rules! code_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal, $text:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum $name { $($(#[$vmeta])* $variant = $value),+ }
        impl $name {
            /// The variant a number stands for, if any.
            #[must_use]
            pub const fn from_wire(value: u64) -> Option<Self> {
                match value { $($value => Some(Self::$variant),)+ _ => None }
            }
            /// The stable name used in JSON, metrics and logs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
            /// The variant of a stable name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
            /// Every variant, in number order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.name()) }
        }
    };
}

code_enum! {
    /// The reason of a decision or report.
    ///
    /// A *permanent* reject is journalled and stored: the same key gets the same answer. A *transient* one is only
    /// counted: nothing was reserved, and a retry under the same key may succeed.
    Reason {
        /// Accepted.
        Ok = 0, "OK";

        /// The bytes are no intent this version knows.
        Malformed = 1, "MALFORMED";
        /// The symbol id is not in the symbol table.
        UnknownSymbol = 2, "UNKNOWN_SYMBOL";
        /// The role of this connection may not send this message.
        RoleForbidden = 3, "ROLE_FORBIDDEN";
        /// The strategy an operator named does not exist, or belongs to another account.
        UnknownStrategy = 4, "UNKNOWN_STRATEGY";

        /// The key is known with other content.
        IdempotencyConflict = 10, "IDEMPOTENCY_CONFLICT";
        /// The intent is older than the dedup window: it may be a repeat whose answer is forgotten.
        StaleKey = 11, "STALE_KEY";
        /// Key 0 is refused unless configured.
        KeyRequired = 12, "KEY_REQUIRED";
        /// A cancel for this key arrived before the order.
        CancelledBeforeArrival = 13, "CANCELLED_BEFORE_ARRIVAL";
        /// The dedup window has no room for this key right now. Transient.
        DedupBusy = 14, "DEDUP_BUSY";

        /// The mode lets only cancels pass. Transient.
        ModeCancelOnly = 20, "MODE_CANCEL_ONLY";
        /// The mode lets nothing pass. Transient.
        ModeRejectAll = 21, "MODE_REJECT_ALL";
        /// The kill switch is on. Transient.
        Killed = 22, "KILLED";
        /// The intent's time to live is over. Transient.
        TtlExpired = 23, "TTL_EXPIRED";
        /// The client's timestamp lies in the future. Transient.
        ClockSkew = 24, "CLOCK_SKEW";
        /// The strategy may not trade this symbol.
        NotEntitled = 25, "NOT_ENTITLED";
        /// StormGuard is in STORM: only what reduces risk passes. Transient.
        StormCancelOnly = 26, "STORM_CANCEL_ONLY";
        /// StormGuard is in HALT, until an operator re-arms it. Transient.
        Halted = 27, "HALTED";

        /// Too many distinct symbols in the exposure store.
        ExposureSymbolLimit = 30, "EXPOSURE_SYMBOL_LIMIT";
        /// Worst-case position beyond the limit.
        PositionLimit = 31, "POSITION_LIMIT";
        /// Worst-case gross notional beyond the limit.
        GrossNotionalLimit = 32, "GROSS_NOTIONAL_LIMIT";
        /// The arithmetic would overflow.
        ArithOverflow = 33, "ARITH_OVERFLOW";

        /// Quantity is not positive.
        BadQty = 40, "BAD_QTY";
        /// Price is not positive, or given for a market order.
        BadPrice = 41, "BAD_PRICE";
        /// Price is not a multiple of the tick.
        OffTick = 42, "OFF_TICK";
        /// Quantity is not a multiple of the lot.
        OffLot = 43, "OFF_LOT";
        /// Order type, time in force and flags do not go together.
        BadTif = 44, "BAD_TIF";
        /// Order quantity beyond the limit.
        MaxOrderQty = 45, "MAX_ORDER_QTY";
        /// Order notional beyond the limit.
        MaxOrderNotional = 46, "MAX_ORDER_NOTIONAL";
        /// Price too far from the reference.
        PriceCollar = 47, "PRICE_COLLAR";
        /// No reference price yet. Transient.
        ReferenceMissing = 48, "REFERENCE_MISSING";
        /// The reference price is too old. Transient.
        ReferenceStale = 49, "REFERENCE_STALE";
        /// The book is crossed: no reference. Transient.
        ReferenceCrossed = 50, "REFERENCE_CROSSED";
        /// Too many orders per second. Transient.
        OrderRate = 51, "ORDER_RATE";
        /// Too many cancels per second. Transient.
        CancelRate = 52, "CANCEL_RATE";
        /// Too many open orders. Transient.
        OpenOrders = 53, "OPEN_ORDERS";
        /// The order would meet an open order of the same strategy.
        SelfCross = 54, "SELF_CROSS";
        /// Too many identical orders in a row. Transient.
        RepeatedOrder = 55, "REPEATED_ORDER";
        /// Too many messages for the day's fills. Transient.
        OrderToTrade = 56, "ORDER_TO_TRADE";
        /// The day's loss is beyond the soft limit: only what reduces a position passes.
        DailyLossSoft = 57, "DAILY_LOSS_SOFT";
        /// The day's loss is beyond the hard limit: no order passes but a force flat.
        DailyLossHard = 58, "DAILY_LOSS_HARD";
        /// The symbol does not trade at this time of the day. Transient.
        OutsideHours = 59, "OUTSIDE_HOURS";

        /// The order is not known to the gate.
        UnknownOrder = 60, "UNKNOWN_ORDER";
        /// The order is already final.
        OrderTerminal = 61, "ORDER_TERMINAL";
        /// There is no position to flatten.
        NothingToFlatten = 62, "NOTHING_TO_FLATTEN";

        /// The venue's ring is full. Transient.
        VenueBusy = 70, "VENUE_BUSY";
        /// The journal is full until the archiver catches up. Transient.
        JournalFull = 71, "JOURNAL_FULL";
        /// No free order slot. Transient.
        OrderTableFull = 72, "ORDER_TABLE_FULL";
        /// The journal's disk failed: no new orders until the gate is started again. Transient.
        JournalFailed = 73, "JOURNAL_FAILED";

        /// Venue: a post-only order would have traded.
        WouldTake = 80, "WOULD_TAKE";
        /// Venue: the book offers nothing (more) to an immediate order.
        NoLiquidity = 81, "NO_LIQUIDITY";
        /// Venue: a fill-or-kill order could not be filled whole.
        FokUnfilled = 82, "FOK_UNFILLED";
        /// Venue: the venue does not know the order.
        VenueUnknownOrder = 83, "VENUE_UNKNOWN_ORDER";
        /// Venue: refused by the venue's own reject model.
        VenueReject = 84, "VENUE_REJECT";
        /// The gate died before the command left: it never took effect.
        LostBeforeSend = 85, "LOST_BEFORE_SEND";
        /// Venue: cancelled as asked.
        CancelRequested = 86, "CANCEL_REQUESTED";
        /// Alarm: more was filled than the order asked for. Booked; its strategy may only reduce until an operator says otherwise.
        Overfill = 87, "OVERFILL";
    }
}

impl Reason {
    /// Whether a retry under the same key may succeed: nothing was stored or reserved.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Malformed
                | Self::RoleForbidden
                | Self::UnknownStrategy
                | Self::IdempotencyConflict
                | Self::StaleKey
                | Self::KeyRequired
                | Self::DedupBusy
                | Self::ModeCancelOnly
                | Self::ModeRejectAll
                | Self::Killed
                | Self::StormCancelOnly
                | Self::Halted
                | Self::TtlExpired
                | Self::ClockSkew
                | Self::ReferenceMissing
                | Self::ReferenceStale
                | Self::ReferenceCrossed
                | Self::OrderRate
                | Self::CancelRate
                | Self::OpenOrders
                | Self::RepeatedOrder
                | Self::OrderToTrade
                | Self::OutsideHours
                | Self::VenueBusy
                | Self::JournalFull
                | Self::OrderTableFull
                | Self::JournalFailed
        )
    }
}

code_enum! {
    /// Which limit a number belongs to, in rejects, journal records and configuration.
    LimitId {
        /// No limit.
        None = 0, "none";
        /// Largest order, scaled quantity. Scope: strategy, symbol.
        MaxOrderQty = 1, "max_order_qty";
        /// Largest order, 1e-8 of the quote currency. Scope: global, strategy, symbol.
        MaxOrderNotionalE8 = 2, "max_order_notional_e8";
        /// Largest distance to the reference, basis points. Scope: global, symbol.
        PriceCollarBps = 3, "price_collar_bps";
        /// Oldest reference the collar accepts, ns. Scope: global.
        ReferenceMaxAgeNs = 4, "reference_max_age_ns";
        /// Market orders count at reference x (1 + band), basis points. Scope: global.
        MarketBandBps = 5, "market_band_bps";
        /// Worst-case position, scaled quantity. Scope: strategy (per symbol), symbol (over all strategies).
        MaxPositionQty = 6, "max_position_qty";
        /// Worst-case gross notional, 1e-8 of the quote currency. Scope: global, account, strategy, symbol.
        MaxGrossNotionalE8 = 7, "max_gross_notional_e8";
        /// Orders per second, sustained. Scope: strategy.
        OrderRatePerS = 8, "order_rate_per_s";
        /// Orders at once. Scope: strategy.
        OrderBurst = 9, "order_burst";
        /// Cancels per second, sustained. Scope: strategy.
        CancelRatePerS = 10, "cancel_rate_per_s";
        /// Cancels at once. Scope: strategy.
        CancelBurst = 11, "cancel_burst";
        /// Open orders. Scope: strategy.
        MaxOpenOrders = 12, "max_open_orders";
        /// Distinct symbols with exposure. Scope: global.
        ExposureMaxSymbols = 13, "exposure_max_symbols";
        /// How long a key is remembered, ns. Scope: global.
        DedupTtlNs = 14, "dedup_ttl_ns";
        /// Keys remembered. Scope: strategy.
        DedupQuota = 15, "dedup_quota";
        /// Order slots. Scope: global.
        OrderTableSlots = 16, "order_table_slots";
        /// How far a client's clock may run ahead, ns. Scope: global.
        MaxClockSkewNs = 17, "max_clock_skew_ns";
        /// The intent's own time to live, ns.
        TtlNs = 18, "ttl_ns";
        /// Tick size, scaled price. Scope: symbol.
        Tick = 19, "tick";
        /// Lot size, scaled quantity. Scope: symbol.
        Lot = 20, "lot";
        /// Shortest time between two journalled marks of a symbol, ns. Scope: global.
        MarkIntervalNs = 21, "mark_interval_ns";
        /// 1: intents without a key are allowed. Scope: global.
        AllowKeyless = 22, "allow_keyless";
        /// 1: an order that would meet an open order of its own strategy is refused. Scope: global, strategy.
        SelfCross = 23, "self_cross";
        /// Identical orders in a row within the window. Scope: global, strategy.
        MaxRepeats = 24, "max_repeats";
        /// How long a row of identical orders lasts, ns. Scope: global, strategy.
        RepeatWindowNs = 25, "repeat_window_ns";
        /// Messages per fill, over a day. Scope: global, strategy.
        MaxOrderToTrade = 26, "max_order_to_trade";
        /// Messages of a day that need no fill. Scope: global, strategy.
        OrderToTradeGrace = 27, "order_to_trade_grace";
        /// Loss of a day from which on only reducing orders pass, 1e-8 of the quote currency. Scope: strategy.
        DailyLossSoftE8 = 28, "daily_loss_soft_e8";
        /// Loss of a day from which on no order passes, 1e-8 of the quote currency. Scope: strategy.
        DailyLossHardE8 = 29, "daily_loss_hard_e8";
        /// Orders per second to the venue, all strategies together. Scope: global.
        VenueOrderRatePerS = 30, "venue_order_rate_per_s";
        /// Orders to the venue at once. Scope: global.
        VenueOrderBurst = 31, "venue_order_burst";
        /// Largest distance to the reference, ticks. Scope: symbol.
        PriceCollarTicks = 32, "price_collar_ticks";
        /// When a symbol begins to trade, seconds since midnight UTC. Scope: symbol.
        TradingOpenS = 33, "trading_open_s";
        /// When a symbol ends to trade, seconds since midnight UTC. Scope: symbol.
        TradingCloseS = 34, "trading_close_s";
        /// `symbol + 1`: the strategy may trade it; negative: it may not any more. With the first of these it may trade only what it has been given. Scope: strategy.
        Entitlement = 35, "entitlement";
        /// Loss since the highest P&L, basis points of the capital: from here on WARM. Scope: global.
        StormDrawdownWarmBps = 36, "storm_drawdown_warm_bps";
        /// Loss since the highest P&L, basis points of the capital: from here on STORM. Scope: global.
        StormDrawdownStormBps = 37, "storm_drawdown_storm_bps";
        /// Loss since the highest P&L, basis points of the capital: from here on HALT. Scope: global.
        StormDrawdownHaltBps = 38, "storm_drawdown_halt_bps";
        /// Time without a market message, ns: from here on WARM. Scope: global.
        StormFeedGapWarmNs = 39, "storm_feed_gap_warm_ns";
        /// Time without a market message, ns: from here on STORM. Scope: global.
        StormFeedGapStormNs = 40, "storm_feed_gap_storm_ns";
        /// Time without a market message, ns: from here on HALT. Scope: global.
        StormFeedGapHaltNs = 41, "storm_feed_gap_halt_ns";
        /// Time from an order to the venue's first word, ns: from here on WARM. Scope: global.
        StormRoundTripWarmNs = 42, "storm_round_trip_warm_ns";
        /// Time from an order to the venue's first word, ns: from here on STORM. Scope: global.
        StormRoundTripStormNs = 43, "storm_round_trip_storm_ns";
        /// Time from an order to the venue's first word, ns: from here on HALT. Scope: global.
        StormRoundTripHaltNs = 44, "storm_round_trip_halt_ns";
        /// Time that a symbol's book has been crossed, ns: from here on WARM. Scope: global.
        StormCrossedWarmNs = 45, "storm_crossed_warm_ns";
        /// Time that a symbol's book has been crossed, ns: from here on STORM. Scope: global.
        StormCrossedStormNs = 46, "storm_crossed_storm_ns";
        /// Time that a symbol's book has been crossed, ns: from here on HALT. Scope: global.
        StormCrossedHaltNs = 47, "storm_crossed_halt_ns";
        /// Journalled rejects of gate and venue within a second: from here on WARM. Scope: global.
        StormRejectsWarm = 48, "storm_rejects_warm";
        /// Journalled rejects of gate and venue within a second: from here on STORM. Scope: global.
        StormRejectsStorm = 49, "storm_rejects_storm";
        /// Journalled rejects of gate and venue within a second: from here on HALT. Scope: global.
        StormRejectsHalt = 50, "storm_rejects_halt";
        /// Checks in a row that found the venue's ring or the journal full: from here on WARM. Scope: global.
        StormFullChecksWarm = 51, "storm_full_checks_warm";
        /// Checks in a row that found the venue's ring or the journal full: from here on STORM. Scope: global.
        StormFullChecksStorm = 52, "storm_full_checks_storm";
        /// Checks in a row that found the venue's ring or the journal full: from here on HALT. Scope: global.
        StormFullChecksHalt = 53, "storm_full_checks_halt";
        /// What drawdowns are measured against, 1e-8 of the quote currency. Scope: global.
        StormCapitalE8 = 54, "storm_capital_e8";
        /// Checks in a row that must be clear before StormGuard steps down. Scope: global.
        StormClearChecks = 55, "storm_clear_checks";
        /// Shortest time in a state before StormGuard steps down, ns. Scope: global.
        StormCooldownNs = 56, "storm_cooldown_ns";
        /// Time between two checks of StormGuard, ns. Scope: global.
        StormCheckIntervalNs = 57, "storm_check_interval_ns";
    }
}

code_enum! {
    /// What a limit or mode is set for.
    Scope {
        /// The whole gate; id 0.
        Global = 0, "global";
        /// One account.
        Account = 1, "account";
        /// One symbol, over all strategies.
        Symbol = 2, "symbol";
        /// One strategy.
        Strategy = 3, "strategy";
    }
}

code_enum! {
    /// What may pass.
    Mode {
        /// Everything.
        AllowAll = 0, "ALLOW_ALL";
        /// Cancels only.
        CancelOnly = 1, "CANCEL_ONLY";
        /// Nothing, except an operator's mass cancel.
        RejectAll = 2, "REJECT_ALL";
        /// Kill switch: cancels only, not even a force flat, until an operator re-arms it and says why.
        Killed = 3, "KILLED";
    }
}

code_enum! {
    /// How rough StormGuard finds it.
    StormState {
        /// Nothing is the matter.
        Normal = 0, "NORMAL";
        /// A warning: everything still passes.
        Warm = 1, "WARM";
        /// Only what reduces risk passes: cancels and force flats.
        Storm = 2, "STORM";
        /// Only cancels pass, and an operator's force flat, until an operator re-arms it and says why.
        Halt = 3, "HALT";
    }
}

code_enum! {
    /// What put StormGuard into its state.
    StormCause {
        /// Nothing.
        None = 0, "NONE";
        /// The loss since the highest P&L.
        Drawdown = 1, "DRAWDOWN";
        /// No market message for too long.
        FeedGap = 2, "FEED_GAP";
        /// The venue answers too slowly.
        RoundTrip = 3, "ROUND_TRIP";
        /// A book is crossed.
        CrossedBook = 4, "CROSSED_BOOK";
        /// Too many rejects at once.
        Rejects = 5, "REJECTS";
        /// The venue's ring or the journal stays full.
        QueueFull = 6, "QUEUE_FULL";
        /// An operator asked for it.
        Operator = 7, "OPERATOR";
        /// The operator's process is gone.
        OperatorGone = 8, "OPERATOR_GONE";
        /// It has calmed down.
        Calm = 9, "CALM";
    }
}

code_enum! {
    /// Why orders are cancelled all at once.
    CancelCause {
        /// An operator asked for it.
        Operator = 0, "OPERATOR";
        /// It came with a kill or a halt.
        Kill = 1, "KILL";
        /// The strategy's client is gone.
        ClientGone = 2, "CLIENT_GONE";
        /// The operator's process is gone.
        OperatorGone = 3, "OPERATOR_GONE";
    }
}
