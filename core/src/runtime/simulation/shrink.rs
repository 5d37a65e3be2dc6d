//! From a run that fails to the fewest of its steps that still fail.

use super::act::Step;
use super::{Tally, run};

/// Runs that shrinking may cost.
const ATTEMPTS: u64 = 600;

/// All steps, or those that `keep` lists by number, comma-separated; the others become nothing.
pub fn chosen(all: &[Step], keep: Option<&str>) -> Vec<Step> {
    let Some(keep) = keep else { return all.to_vec() };
    let listed = keep.split(',').filter_map(|text| text.trim().parse().ok());
    listed.filter_map(|at: usize| all.get(at).copied()).collect()
}

/// Drops ever smaller parts as long as what is left still fails, in whatever way.
fn shrunk(seed: u64, steps: &[Step], at: usize) -> (Vec<usize>, String) {
    let fails = |kept: &[usize]| {
        let chosen: Vec<Step> = kept.iter().map(|at| steps[*at]).collect();
        run(seed, &chosen, &Tally::default()).err()
    };
    // What comes after the failing step has no part in it.
    let mut kept: Vec<usize> = (0..steps.len().min(at + 1)).collect();
    let Some((_, mut what)) = fails(&kept) else { return ((0..steps.len()).collect(), String::new()) };
    let (mut part, mut left) = (kept.len().div_ceil(2), ATTEMPTS);
    while part > 0 && left > 0 {
        let mut from = 0;
        while from < kept.len() && left > 0 {
            left -= 1;
            let without: Vec<usize> =
                kept[..from].iter().chain(kept.iter().skip(from + part)).copied().collect();
            match fails(&without) {
                Some((_, still)) => (kept, what) = (without, still),
                None => from += part,
            }
        }
        part /= 2;
    }
    (kept, what)
}

/// What a failing run has to say.
pub fn report(seed: u64, count: u64, steps: &[Step], at: usize, what: &str) -> String {
    let (kept, shrunk_to) = shrunk(seed, steps, at);
    let list: Vec<String> = kept.iter().map(usize::to_string).collect();
    let acts: Vec<String> = kept.iter().map(|at| format!("{:?}", steps[*at].act)).collect();
    format!(
        "seed {seed}, step {at}: {what}\n\
         again:  RINGFENCE_G9_SEED={seed} RINGFENCE_G9_SEEDS=1 RINGFENCE_G9_STEPS={count} cargo test --release \
         -p ringfence-core --lib g9_\n\
         enough: {} of its steps, with RINGFENCE_G9_KEEP={}\n        {}\n        {shrunk_to}",
        kept.len(),
        list.join(","),
        acts.join(" "),
    )
}
