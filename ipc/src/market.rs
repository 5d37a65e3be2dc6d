//! The market segment: the symbol table, and the newest top of book of every symbol for everybody to read.
//!
//! Written by the gate, mapped read-only by every client. Layout: [`crate::layout`]; one cell: [`crate::cell`].

use crate::cell::{self, CELL_SLOTS, CellWriter};
use crate::journal::Record;
use crate::layout::{self, CELL_BYTES, LAYOUT_HASH, market as at};
use crate::msg::{SLOT_BYTES, SymbolId, Words};
use crate::segment::{Mapping, SegmentError};
use crate::symbol::Symbol;
use crate::view::{ReadSlots, ReadWord, WriteWord};

const _: () = assert!(CELL_SLOTS * SLOT_BYTES == CELL_BYTES);

/// The newest prices of one symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarketView {
    /// Best bid, scaled.
    pub bid_price: i64,
    /// Quantity at the best bid, scaled; 0: no bid.
    pub bid_qty: i64,
    /// Best ask, scaled.
    pub ask_price: i64,
    /// Quantity at the best ask, scaled; 0: no ask.
    pub ask_qty: i64,
    /// Price of the last trade, scaled; 0: none yet.
    pub last_price: i64,
    /// Number of the market event this is from.
    pub event: u64,
    /// Time of that event, ns since the Unix epoch.
    pub ts_ns: u64,
}

impl MarketView {
    const fn encode(&self) -> Words {
        [
            self.bid_price as u64,
            self.bid_qty as u64,
            self.ask_price as u64,
            self.ask_qty as u64,
            self.last_price as u64,
            self.event,
            self.ts_ns,
        ]
    }

    const fn decode(words: &Words) -> Self {
        Self {
            bid_price: words[0] as i64,
            bid_qty: words[1] as i64,
            ask_price: words[2] as i64,
            ask_qty: words[3] as i64,
            last_price: words[4] as i64,
            event: words[5],
            ts_ns: words[6],
        }
    }
}

/// The gate's side. Not `Clone`: a cell has one writer.
#[derive(Debug)]
pub struct MarketWriter {
    cells: Vec<CellWriter>,
    latest: WriteWord,
}

impl MarketWriter {
    /// Writes header and symbol table into a fresh segment of [`layout::market_bytes`]; a symbol's id is its index.
    ///
    /// # Errors
    /// [`SegmentError`] when the mapping is read-only or has another size.
    pub fn new(mapping: &Mapping, symbols: &[Symbol], table_version: u64) -> Result<Self, SegmentError> {
        let count = symbols.len();
        if count > usize::from(SymbolId::MAX) || mapping.len_bytes() != layout::market_bytes(count) {
            return Err(SegmentError::Header("symbol count"));
        }
        mapping.store(layout::HASH, LAYOUT_HASH)?;
        mapping.store(at::SYMBOLS, count as u64)?;
        mapping.store(at::TABLE_VERSION, table_version)?;
        let mut cells = Vec::with_capacity(count);
        for (id, symbol) in symbols.iter().enumerate() {
            let entry = mapping.write_slots(layout::market_symbol(id), 1)?;
            let record = Record::Symbol { id: id as SymbolId, symbol: *symbol }.encode();
            for words in record.slots() {
                entry.store_payload(0, words);
            }
            entry.publish(0, id as u64);
            cells.push(CellWriter::new(mapping.write_slots(layout::market_cell(count, id), CELL_SLOTS)?));
        }
        mapping.store(layout::MAGIC, at::MAGIC)?;
        Ok(Self { cells, latest: mapping.write_word(at::LATEST)? })
    }

    /// Makes `view` the one that readers of `symbol` see, then its event the latest one. Unknown symbols are ignored.
    #[inline]
    pub fn publish(&mut self, symbol: SymbolId, view: &MarketView) {
        if let Some(cell) = self.cells.get_mut(usize::from(symbol)) {
            cell.publish(&view.encode());
            self.latest.publish(view.event);
        }
    }

    /// Says that the market is at `event`, also when that event changed no top of book.
    #[inline]
    pub fn set_latest_event(&self, event: u64) {
        self.latest.publish(event);
    }
}

/// A client's side: reads, never writes.
#[derive(Clone, Debug)]
pub struct MarketReader {
    symbols: Vec<Symbol>,
    table_version: u64,
    cells: ReadSlots,
    latest: ReadWord,
}

impl MarketReader {
    /// Checks the header and copies the symbol table.
    ///
    /// # Errors
    /// [`SegmentError`] when this is no market segment of this version, or its table is not sound.
    pub fn new(mapping: &Mapping) -> Result<Self, SegmentError> {
        layout::check_header(mapping, at::MAGIC)?;
        let count = usize::try_from(mapping.load(at::SYMBOLS)?).unwrap_or(usize::MAX);
        if count > usize::from(SymbolId::MAX) || mapping.len_bytes() != layout::market_bytes(count) {
            return Err(SegmentError::Header("symbol count"));
        }
        let symbols = (0..count).map(|id| read_symbol(mapping, id)).collect::<Result<_, _>>()?;
        Ok(Self {
            symbols,
            table_version: mapping.load(at::TABLE_VERSION)?,
            cells: mapping.read_slots(layout::market_cell(count, 0), count * CELL_SLOTS)?,
            latest: mapping.read_word(at::LATEST)?,
        })
    }

    /// The newest prices of a symbol. `None` before the first, for an unknown id, and (never seen) when the writer
    /// outran every try.
    #[inline]
    #[must_use]
    pub fn view(&self, symbol: SymbolId) -> Option<MarketView> {
        let id = usize::from(symbol);
        (id < self.symbols.len())
            .then(|| cell::read(&self.cells, id * CELL_SLOTS))
            .flatten()
            .map(|words| MarketView::decode(&words))
    }

    /// Number of the latest market event; its prices are visible to whoever sees it here.
    #[inline]
    #[must_use]
    pub fn latest_event(&self) -> u64 {
        self.latest.get_acquire()
    }

    /// Every symbol, by id.
    #[must_use]
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// The symbol of an id.
    #[must_use]
    pub fn symbol(&self, id: SymbolId) -> Option<&Symbol> {
        self.symbols.get(usize::from(id))
    }

    /// The id of a name.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<SymbolId> {
        self.symbols.iter().position(|symbol| symbol.name() == name).map(|id| id as SymbolId)
    }

    /// Version of the symbol table.
    #[must_use]
    pub fn table_version(&self) -> u64 {
        self.table_version
    }
}

fn read_symbol(mapping: &Mapping, id: usize) -> Result<Symbol, SegmentError> {
    let entry = mapping.read_slots(layout::market_symbol(id), 1)?;
    match Record::decode(&[entry.payload(0)]) {
        Ok(Record::Symbol { id: found, symbol })
            if usize::from(found) == id && entry.sequence(0) == id as u64 =>
        {
            symbol.checked().map_err(|_| SegmentError::Header("symbol"))
        }
        _ => Err(SegmentError::Header("symbol table")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{GateSegment, map_peer};

    fn market() -> (GateSegment, MarketWriter, MarketReader) {
        let symbols =
            [Symbol::new("BTCUSDT", 2, 5, 1, 1).unwrap(), Symbol::new("ETHUSDT", 2, 4, 5, 10).unwrap()];
        let segment = GateSegment::create("market", layout::market_bytes(symbols.len())).unwrap();
        let writer = MarketWriter::new(segment.mapping(), &symbols, 9).unwrap();
        let fd = segment.fd().try_clone_to_owned().unwrap();
        let reader = MarketReader::new(&map_peer(fd, layout::market_bytes(2), false).unwrap()).unwrap();
        assert_eq!(reader.symbols(), symbols);
        (segment, writer, reader)
    }

    #[test]
    fn clients_see_the_newest_prices_and_no_others() {
        let (_segment, mut writer, reader) = market();
        assert_eq!((reader.view(0), reader.view(1), reader.view(2)), (None, None, None));
        let view = MarketView {
            bid_price: -1,
            bid_qty: 2,
            ask_price: 3,
            ask_qty: 4,
            last_price: 5,
            event: 6,
            ts_ns: 7,
        };
        writer.publish(1, &view);
        writer.publish(2, &view);
        assert_eq!((reader.view(0), reader.view(1)), (None, Some(view)));
        assert_eq!(reader.latest_event(), 6);
        writer.set_latest_event(8);
        assert_eq!(reader.latest_event(), 8);
    }

    #[test]
    fn symbols_resolve_by_name_and_id() {
        let (_segment, _writer, reader) = market();
        assert_eq!((reader.id_of("ETHUSDT"), reader.id_of("XRPUSDT")), (Some(1), None));
        assert_eq!(reader.symbol(1).unwrap().lot, 10);
        assert!(reader.symbol(2).is_none());
        assert_eq!(reader.table_version(), 9);
    }

    #[test]
    fn a_table_that_is_not_sound_is_refused() {
        let (segment, _writer, _) = market();
        let map = segment.mapping();
        for offset in [layout::MAGIC, layout::HASH, at::SYMBOLS, layout::market_symbol(1)] {
            let good = map.load(offset).unwrap();
            map.store(offset, good.wrapping_add(1)).unwrap();
            assert!(MarketReader::new(map).is_err(), "{offset}");
            map.store(offset, good).unwrap();
        }
        assert!(MarketReader::new(map).is_ok());
    }
}
