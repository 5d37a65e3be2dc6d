//! G8 without a fuzzer: every decoder on its kept corpus, and on seeded mutations of it. `RINGFENCE_G8_MUTATIONS` says
//! how many for each decoder. `cargo xtask fuzz` looks for what this does not find.

use std::path::PathBuf;
use std::time::Instant;

use ringfence_tests::fuzz::{TARGETS, Target};
use ringfence_tests::process::workspace;
use ringfence_tests::{Dice, size};

/// The inputs kept for one decoder, in the order of their names.
fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = workspace().join("fuzz/corpus").join(target.name);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn g8_every_decoder_takes_its_corpus() {
    for target in TARGETS {
        let inputs = corpus(&target);
        assert!(!inputs.is_empty(), "{}: no corpus", target.name);
        for (path, data) in &inputs {
            let taken = std::panic::catch_unwind(|| (target.run)(data));
            assert!(taken.is_ok(), "{} broke {}", path.display(), target.name);
        }
        println!("g8: {} took {} inputs", target.name, inputs.len());
    }
}

/// One to eight small changes: what a fuzzer does, from a seed.
fn mutated(inputs: &[(PathBuf, Vec<u8>)], dice: &mut Dice) -> Vec<u8> {
    let mut pick = || &inputs[dice.below(inputs.len() as u64) as usize].1;
    let (mut data, other) = (pick().clone(), pick());
    for _ in 0..=dice.below(8) {
        let at = dice.below(data.len() as u64 + 1) as usize;
        let to = (at + dice.below(16) as usize).min(data.len());
        match dice.below(8) {
            0 if at < data.len() => data[at] ^= 1 << dice.below(8),
            1 if at < data.len() => {
                data[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'-', b'9'][dice.below(8) as usize]
            }
            2 => data.truncate(at),
            3 => data.insert(at, dice.below(256) as u8),
            4 => drop(data.drain(at..to)),
            5 => data.extend_from_within(at..to),
            6 => data.splice(at..to, other.iter().take(dice.below(64) as usize).copied()).for_each(drop),
            _ => data.iter_mut().skip(at).take(8).for_each(|byte| *byte = dice.below(256) as u8),
        }
    }
    data.truncate(1 << 16);
    data
}

#[test]
fn g8_every_decoder_takes_mutations_of_its_corpus() {
    let mutations = size("RINGFENCE_G8_MUTATIONS", 20_000);
    for target in TARGETS {
        let (inputs, mut dice, began) = (corpus(&target), Dice::new(0x6738), Instant::now());
        for number in 0..mutations {
            let data = mutated(&inputs, &mut dice);
            let taken = std::panic::catch_unwind(|| (target.run)(&data));
            assert!(taken.is_ok(), "mutation {number} broke {}: {}", target.name, data.escape_ascii());
        }
        println!("g8: {} took {mutations} mutations in {:?}", target.name, began.elapsed());
    }
}
