//! The order in which nodes can run, and what keeps them from it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::error::DagError;
use crate::model::Dag;

/// Every node of one DAG after all of its inputs; among those that could come next, the one that was sent first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order(Vec<usize>);

impl Order {
    /// The nodes, as they stand in [`Dag::nodes`].
    #[must_use]
    pub fn indices(&self) -> &[usize] {
        &self.0
    }
}

/// Finds the order (Kahn). An id that is several nodes is waited for until all of them are there.
///
/// # Errors
/// [`DagError::Cycle`] names the nodes of one cycle.
pub fn topological_order(dag: &Dag) -> Result<Order, DagError> {
    let nodes = dag.nodes().len();
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); dag.groups().len()];
    let mut waits_for: Vec<usize> = (0..nodes).map(|node| dag.input_groups(node).len()).collect();
    for node in 0..nodes {
        dag.input_groups(node).iter().for_each(|group| readers[*group].push(node));
    }
    let mut absent: Vec<usize> = dag.groups().iter().map(Vec::len).collect();
    let mut ready: BinaryHeap<_> = (0..nodes).filter(|node| waits_for[*node] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(nodes);
    while let Some(Reverse(node)) = ready.pop() {
        order.push(node);
        let group = dag.group_of(node);
        absent[group] -= 1;
        if absent[group] > 0 {
            continue;
        }
        for reader in &readers[group] {
            waits_for[*reader] -= 1;
            if waits_for[*reader] == 0 {
                ready.push(Reverse(*reader));
            }
        }
    }
    if order.len() == nodes { Ok(Order(order)) } else { Err(cycle(dag, &waits_for, &absent)) }
}

/// Walks from a node that waits to one that it waits for, until it comes to a node again: every one that waits does so
/// for another one that waits.
fn cycle(dag: &Dag, waits_for: &[usize], absent: &[usize]) -> DagError {
    let mut path = Vec::new();
    let mut step_of = vec![None; waits_for.len()];
    let mut next = waits_for.iter().position(|inputs| *inputs > 0);
    while let Some(node) = next {
        if let Some(step) = step_of[node] {
            path.drain(..step);
            break;
        }
        step_of[node] = Some(path.len());
        path.push(node);
        let group = dag.input_groups(node).iter().find(|group| absent[**group] > 0);
        next = group.and_then(|group| dag.groups()[*group].iter().copied().find(|node| waits_for[*node] > 0));
    }
    DagError::Cycle(path.into_iter().map(|node| dag.nodes()[node].node_id.clone()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::Limits;

    fn dag(edges: &[(&str, &[&str])]) -> Dag {
        let node = |(id, inputs): &(&str, &[&str])| json!({"node_id": id, "node_type": "P", "inputs": inputs, "code_hash": "c", "schema_hash": "s"});
        let nodes: Vec<_> = edges.iter().map(node).collect();
        Dag::parse(json!({ "nodes": nodes }).to_string().as_bytes(), &Limits::default()).unwrap()
    }

    fn order(edges: &[(&str, &[&str])]) -> Vec<usize> {
        topological_order(&dag(edges)).unwrap().indices().to_vec()
    }

    fn cycle_of(edges: &[(&str, &[&str])]) -> Vec<String> {
        let Err(DagError::Cycle(ids)) = topological_order(&dag(edges)) else { panic!("no cycle") };
        ids
    }

    #[test]
    fn inputs_come_first_and_else_the_order_is_kept() {
        assert_eq!(order(&[]), [] as [usize; 0]);
        assert_eq!(order(&[("a", &[]), ("b", &[]), ("c", &[])]), [0, 1, 2]);
        assert_eq!(order(&[("c", &["b", "a"]), ("b", &["a"]), ("a", &[]), ("d", &[])]), [2, 1, 0, 3]);
        assert_eq!(order(&[("b", &["a", "a"]), ("a", &[])]), [1, 0]);
    }

    #[test]
    fn an_id_that_is_two_nodes_is_waited_for_twice() {
        assert_eq!(order(&[("x", &["a"]), ("a", &[]), ("b", &[]), ("a", &["b"])]), [1, 2, 3, 0]);
    }

    #[test]
    fn a_cycle_is_named_and_only_it() {
        assert_eq!(cycle_of(&[("a", &["a"])]), ["a"]);
        assert_eq!(
            cycle_of(&[("out", &["a"]), ("a", &["s", "c"]), ("s", &[]), ("b", &["a"]), ("c", &["b"])]),
            ["a", "c", "b"]
        );
        assert_eq!(cycle_of(&[("a", &[]), ("b", &["a"]), ("a", &["b"])]), ["b", "a"]);
        let error = topological_order(&dag(&[("a", &["b"]), ("b", &["a"])])).unwrap_err();
        assert!(error.to_string().contains("a <- b"), "{error}");
    }

    #[test]
    fn a_long_chain_takes_no_stack_and_ids_that_stand_often_no_time() {
        let ids: Vec<String> = (0..5_000).map(|id| id.to_string()).collect();
        let inputs: Vec<[&str; 1]> = (0..5_000).map(|id| [ids[(id + 1) % 5_000].as_str()]).collect();
        let edges: Vec<(&str, &[&str])> =
            ids.iter().zip(&inputs).map(|(id, i)| (id.as_str(), i.as_slice())).collect();
        assert_eq!(cycle_of(&edges).len(), 5_000);
        let mut chain = edges;
        chain[4_999].1 = &[];
        assert!(order(&chain).iter().rev().copied().eq(0..5_000));

        let many = vec!["a"; 200];
        let edges: Vec<(&str, &[&str])> = (0..5_000)
            .map(|at| if at % 2 == 0 { ("a", [].as_slice()) } else { ("b", many.as_slice()) })
            .collect();
        assert_eq!(order(&edges).len(), 5_000);
    }

    proptest! {
        #[test]
        fn either_every_input_comes_first_or_a_cycle_is_one(
            edges in proptest::collection::vec((0..12_usize, proptest::collection::vec(0..12_usize, 0..3)), 0..24)
        ) {
            let names: Vec<String> = (0..12).map(|id| format!("n{id}")).collect();
            let present = |id: &usize| edges.iter().any(|(other, _)| other == id);
            let inputs: Vec<Vec<&str>> = edges.iter()
                .map(|(_, inputs)| inputs.iter().filter(|id| present(id)).map(|id| names[*id].as_str()).collect())
                .collect();
            let nodes: Vec<(&str, &[&str])> =
                edges.iter().zip(&inputs).map(|((id, _), inputs)| (names[*id].as_str(), inputs.as_slice())).collect();
            match topological_order(&dag(&nodes)) {
                Ok(order) => {
                    let place = |node: usize| order.indices().iter().position(|other| *other == node).unwrap();
                    for (at, (_, inputs)) in nodes.iter().enumerate() {
                        for (other, (id, _)) in nodes.iter().enumerate() {
                            prop_assert!(!inputs.contains(id) || place(other) < place(at));
                        }
                    }
                }
                Err(DagError::Cycle(ids)) => {
                    prop_assert!(!ids.is_empty());
                    for (at, id) in ids.iter().enumerate() {
                        let input = ids[(at + 1) % ids.len()].as_str();
                        prop_assert!(nodes.iter().any(|(other, inputs)| other == id && inputs.contains(&input)));
                    }
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}
