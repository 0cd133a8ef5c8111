//! Equations of Einsum nodes.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::onnx::graph::{Graph, Node};

/// An equation with its labels numbered. The dots stand for as many labels as they cover axes; they come first, then
/// the letters in the order of the alphabet, capitals first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Einsum {
    /// The label of every axis of every operand. A label twice in one operand means its diagonal.
    pub(crate) operands: Vec<Vec<usize>>,
    /// The label of every axis of the result.
    pub(crate) output: Vec<usize>,
    /// Size of every label. An operand may have size 1 where this is more: it broadcasts.
    pub(crate) sizes: Vec<usize>,
}

impl Einsum {
    /// Of a node with any number of operands.
    ///
    /// # Errors
    /// `ModelInvalid` for an equation that is none or does not fit the operands.
    pub(crate) fn of(graph: &Graph, node: &Node) -> Result<Einsum> {
        let equation: String =
            node.text_or("equation", "").chars().filter(|letter| !letter.is_whitespace()).collect();
        let wrong = |what: &str| node.invalid(format!("equation {equation:?}: {what}"));
        let (left, right) = match equation.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (equation.as_str(), None),
        };
        let terms = left.split(',').map(|term| Term::parse(term).ok_or_else(|| wrong("expected letters")));
        let terms = terms.collect::<Result<Vec<_>>>()?;
        if terms.len() != node.inputs.len() {
            return Err(wrong(&format!("{} terms for {} inputs", terms.len(), node.inputs.len())));
        }
        let mut shapes = Vec::with_capacity(terms.len());
        let mut dots = 0;
        for (index, term) in terms.iter().enumerate() {
            let shape = graph.shape(node.needed(index)?);
            let letters = term.before.len() + term.after.len();
            if letters > shape.len() || !term.dots && letters != shape.len() {
                return Err(wrong(&format!("input {index} has shape {shape:?}")));
            }
            dots = dots.max(shape.len() - letters);
            shapes.push(shape);
        }
        let mut counts: BTreeMap<char, usize> = BTreeMap::new();
        for letter in terms.iter().flat_map(|term| term.before.iter().chain(&term.after)) {
            *counts.entry(*letter).or_default() += 1;
        }
        let labels: BTreeMap<char, usize> =
            counts.keys().enumerate().map(|(index, letter)| (*letter, dots + index)).collect();
        let mut sizes = vec![1; dots + labels.len()];
        let mut operands = Vec::with_capacity(terms.len());
        for (term, shape) in terms.iter().zip(shapes) {
            let covered = shape.len() - term.before.len() - term.after.len();
            let before = term.before.iter().map(|letter| labels[letter]);
            let after = term.after.iter().map(|letter| labels[letter]);
            let own: Vec<usize> = before.chain(dots - covered..dots).chain(after).collect();
            for (&label, &dim) in own.iter().zip(shape) {
                if sizes[label] == 1 {
                    sizes[label] = dim;
                } else if dim != 1 && dim != sizes[label] {
                    return Err(wrong(&format!("sizes {} and {dim} for one label", sizes[label])));
                }
            }
            operands.push(own);
        }
        let output: Vec<usize> = match right {
            Some(right) => {
                let term = Term::parse(right).ok_or_else(|| wrong("expected letters"))?;
                let mut own = Vec::new();
                let resolve = |letter: &char| {
                    let label = labels.get(letter).copied();
                    label.ok_or_else(|| wrong("the result has a letter of its own"))
                };
                for letter in &term.before {
                    own.push(resolve(letter)?);
                }
                if term.dots {
                    own.extend(0..dots);
                }
                for letter in &term.after {
                    own.push(resolve(letter)?);
                }
                let mut sorted = own.clone();
                sorted.sort_unstable();
                if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
                    return Err(wrong("the result has a letter twice"));
                }
                own
            }
            // What comes once stays, in the order of the alphabet.
            None => {
                let once = counts.iter().filter(|(_, count)| **count == 1).map(|(letter, _)| labels[letter]);
                (0..dots).chain(once).collect()
            }
        };
        Ok(Einsum { operands, output, sizes })
    }
}

/// One side of a comma.
struct Term {
    before: Vec<char>,
    dots: bool,
    after: Vec<char>,
}

impl Term {
    fn parse(text: &str) -> Option<Term> {
        let (before, after, dots) = match text.split_once("...") {
            Some((before, after)) => (before, after, true),
            None => (text, "", false),
        };
        let letters = |text: &str| -> Option<Vec<char>> {
            text.chars().map(|letter| letter.is_ascii_alphabetic().then_some(letter)).collect()
        };
        Some(Term { before: letters(before)?, dots, after: letters(after)? })
    }
}
