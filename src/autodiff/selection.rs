//! Which parameters are trained.

use std::fmt;
use std::str::FromStr;

use crate::autodiff::adapter::adaptable;
use crate::autodiff::parameter::{Parameter, Role};
use crate::error::{Error, Result};
use crate::onnx::graph::{Graph, ValueId};
use crate::onnx::short;
use crate::weights::pattern::name_matches;

/// Which parameters of a model are trained: presets and patterns, in order.
///
/// Written as a list separated by commas, for instance `decoder,!*.bias`. A term adds what it names; with `!` before
/// it, it takes away. A list that begins with a `!` starts from `all`.
///
/// | term | what it names |
/// |---|---|
/// | `all` | every weight, bias, scale and embedding |
/// | `head` | the layers after which no other layer with weights comes |
/// | `decoder` | what is not encoder: by names (`encoder.`, `backbone.`) where the file has them, else what comes after the first upsampling and what branches off the encoder |
/// | `norm` | scale and shift of normalisation layers |
/// | `bias` | what is added, the shifts of normalisation layers included |
/// | `lora:r=8` | low-rank adapters of rank 8 beside the weights of linear layers and 1 x 1 convolutions, which stay frozen; `lora:r=8:alpha=16` scales them by alpha / r |
/// | anything else | a pattern over names: `*` stands for any text, `?` for one character |
///
/// Adapters go on every weight of a linear layer (`MatMul`, `Gemm`) and of a 1 x 1 convolution of one group that is used in
/// no other way and is not trained itself. Other terms choose beside them: `lora:r=4,norm` trains the normalisation layers
/// in full, `lora:r=4,head` the head. A term with `!` after it takes adapters away by the weights' names:
/// `lora:r=8,!encoder.*` leaves those of the decoder. There is no form that lists only what is to have one.
///
/// Running statistics of BatchNormalization are never trained by gradients; `BatchNorm::Train` updates them.
///
/// ```
/// use glebe::autodiff::Selection;
/// let selection: Selection = "decoder,!*.bias".parse()?;
/// assert_eq!(selection.to_string(), "decoder,!*.bias");
/// # Ok::<(), glebe::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    terms: Vec<Term>,
}

/// Low-rank adapters: rank and scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lora {
    /// Rank of the adapters, 1 or more.
    pub rank: usize,
    /// The adapter's product is scaled by `alpha / rank`; by default `alpha` is the rank.
    pub alpha: f32,
}

#[derive(Debug, Clone, PartialEq)]
struct Term {
    exclude: bool,
    what: What,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    All,
    Head,
    Decoder,
    Norm,
    Bias,
    Lora(Lora),
    Pattern(String),
}

/// What a selection comes to in a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    /// Values that are trained.
    pub(crate) trained: Vec<ValueId>,
    /// Weights that have an adapter.
    pub(crate) adapted: Vec<ValueId>,
}

impl Selection {
    /// Every parameter.
    pub fn all() -> Selection {
        Selection { terms: vec![Term { exclude: false, what: What::All }] }
    }

    /// The adapters that are asked for.
    pub fn lora(&self) -> Option<Lora> {
        self.terms.iter().find_map(|term| match term.what {
            What::Lora(lora) if !term.exclude => Some(lora),
            _ => None,
        })
    }

    /// The values that are trained, and those that have an adapter, in the order of `parameters`; `outputs` are what the
    /// loss is computed from.
    ///
    /// `file` are the names of all tensors of the file: one may be excluded that is no parameter (any more), for instance
    /// the scales of a Resize.
    ///
    /// # Errors
    /// `InvalidArgument` for a pattern that matches nothing, where nothing is left to train, and where adapters are asked
    /// for and no weight can have one.
    pub(crate) fn choose(
        &self,
        graph: &Graph,
        parameters: &[Parameter],
        outputs: &[ValueId],
        file: &[&str],
    ) -> Result<Choice> {
        let mut adapted = vec![false; parameters.len()];
        let mut chosen = vec![false; parameters.len()];
        if self.terms.first().is_some_and(|term| term.exclude) {
            chosen
                .iter_mut()
                .zip(parameters)
                .for_each(|(chosen, parameter)| *chosen = parameter.is_trainable());
        }
        for term in &self.terms {
            if let What::Lora(_) = term.what {
                let ids: Vec<ValueId> = parameters.iter().map(|own| own.id).collect();
                adapted = adaptable(graph, &ids);
                for ((adapted, own), chosen) in adapted.iter_mut().zip(parameters).zip(&chosen) {
                    *adapted &= own.role == Role::Weight && !chosen;
                }
                continue;
            }
            let named = match term.what.named(graph, parameters, outputs) {
                Err(_) if term.exclude && term.what.is_among(file) => continue,
                named => named?,
            };
            for ((chosen, adapted), named) in chosen.iter_mut().zip(&mut adapted).zip(named) {
                if named {
                    // Trained itself or frozen: no adapter either way.
                    (*chosen, *adapted) = (!term.exclude, false);
                }
            }
        }
        let ids = |marks: &[bool]| -> Vec<ValueId> {
            marks.iter().zip(parameters).filter(|(mark, _)| **mark).map(|(_, own)| own.id).collect()
        };
        let choice = Choice { trained: ids(&chosen), adapted: ids(&adapted) };
        if self.lora().is_some() && choice.adapted.is_empty() {
            let why = "no weight of a linear layer or 1 x 1 convolution is left for an adapter";
            return Err(Error::invalid(format!("{:?}: {why}", self.to_string())));
        }
        if choice.trained.is_empty() && choice.adapted.is_empty() {
            let why = match parameters.is_empty() {
                true => {
                    ": the model has no weights as initializers (weights in Constant nodes are not trained)"
                }
                false => "",
            };
            return Err(Error::invalid(format!("{:?} leaves nothing to train{why}", self.to_string())));
        }
        Ok(choice)
    }
}

impl What {
    /// Whether it is a pattern that one of `names` matches.
    fn is_among(&self, names: &[&str]) -> bool {
        matches!(self, What::Pattern(pattern) if names.iter().any(|name| name_matches(pattern, name)))
    }

    fn named(&self, graph: &Graph, parameters: &[Parameter], outputs: &[ValueId]) -> Result<Vec<bool>> {
        let by = |test: &dyn Fn(&Parameter) -> bool| -> Vec<bool> {
            parameters.iter().map(|parameter| parameter.is_trainable() && test(parameter)).collect()
        };
        Ok(match self {
            What::All => by(&|_| true),
            What::Norm => by(&|own| matches!(own.role, Role::NormScale | Role::NormBias)),
            What::Bias => by(&|own| matches!(own.role, Role::Bias | Role::NormBias)),
            What::Head => {
                let head = head(graph, parameters, outputs);
                by(&|own| own.node.is_some_and(|node| head[node]))
            }
            What::Decoder => decoder(graph, parameters),
            What::Lora(_) => vec![false; parameters.len()],
            What::Pattern(pattern) => {
                let matches =
                    |own: &Parameter| name_matches(pattern, &own.name) || name_matches(pattern, &own.alias);
                let named = parameters
                    .iter()
                    .map(|own| {
                        // A number of the exporter is trained where it is named in full.
                        (own.is_trainable() || own.role == Role::Other || own.name == *pattern)
                            && own.role != Role::Statistic
                            && matches(own)
                    })
                    .collect::<Vec<_>>();
                if !named.contains(&true) {
                    return Err(nothing(pattern, parameters));
                }
                named
            }
        })
    }
}

/// The refusal of a pattern without a match, with names that there are.
fn nothing(pattern: &str, parameters: &[Parameter]) -> Error {
    let trainable: Vec<&Parameter> = parameters.iter().filter(|own| own.is_trainable()).collect();
    let near = trainable
        .iter()
        .min_by_key(|own| distance(pattern, &own.alias))
        .map_or(String::new(), |own| format!(", for instance {:?}", short(&own.alias)));
    Error::invalid(format!(
        "{:?} is no preset (all, head, decoder, norm, bias, lora:r=8) and matches none of the {} names{near}",
        short(pattern),
        trainable.len()
    ))
}

/// Number of characters that are not in the common start: a cheap likeness.
fn distance(a: &str, b: &str) -> usize {
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    a.chars().count() + b.chars().count() - 2 * common
}

/// Marks the nodes after which, on the way to the outputs, no further layer with weights comes.
fn head(graph: &Graph, parameters: &[Parameter], outputs: &[ValueId]) -> Vec<bool> {
    let mut layers = vec![false; graph.nodes().len()];
    for node in parameters.iter().filter(|own| own.role == Role::Weight).filter_map(|own| own.node) {
        layers[node] = true;
    }
    // Values that reach an output without meeting a layer.
    let mut free = vec![false; graph.len()];
    for id in outputs {
        free[id.index()] = true;
    }
    let mut head = vec![false; graph.nodes().len()];
    for (index, node) in graph.nodes().iter().enumerate().rev() {
        if node.outputs.iter().flatten().any(|id| free[id.index()]) {
            head[index] = true;
            if !layers[index] {
                for id in node.inputs.iter().flatten() {
                    free[id.index()] = true;
                }
            }
        }
    }
    head
}

/// Beginnings of names that encoders have in the libraries that people train with.
const ENCODERS: [&str; 4] = ["encoder.", "backbone.", "model.encoder.", "model.backbone."];

fn decoder(graph: &Graph, parameters: &[Parameter]) -> Vec<bool> {
    let is_encoder = |own: &Parameter| {
        ENCODERS.iter().any(|start| own.alias.starts_with(start) || own.name.starts_with(start))
    };
    let named = parameters.iter().filter(|own| own.is_trainable()).any(is_encoder);
    if named {
        return parameters.iter().map(|own| own.is_trainable() && !is_encoder(own)).collect();
    }
    let after = after_upsampling(graph);
    parameters.iter().map(|own| own.is_trainable() && own.node.is_some_and(|node| after[node])).collect()
}

/// Marks the nodes behind the first upsampling, and those that lead only to such.
fn after_upsampling(graph: &Graph) -> Vec<bool> {
    let grows = |index: usize| {
        let node = &graph.nodes()[index];
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { return false };
        let (x, y) = (graph.shape(x), graph.shape(y));
        matches!(node.op_type.as_str(), "Resize" | "ConvTranspose" | "DepthToSpace")
            && x.len() == y.len()
            && x.len() > 2
            && y[2..].iter().zip(&x[2..]).any(|(y, x)| y > x)
            // The squeeze of a pooled branch back to the size it had is no upsampling.
            && x[2..].iter().any(|&size| size > 1)
    };
    let mut after = vec![false; graph.len()];
    let mut marked = vec![false; graph.nodes().len()];
    for (index, node) in graph.nodes().iter().enumerate() {
        marked[index] = grows(index) || node.inputs.iter().flatten().any(|id| after[id.index()]);
        if marked[index] {
            for id in node.outputs.iter().flatten() {
                after[id.index()] = true;
            }
        }
    }
    // What feeds nothing but the decoder belongs to it, unless the deepest features come through it: it must branch
    // off a value that something else continues from.
    let mut side = marked.clone();
    let mut users = vec![Vec::new(); graph.len()];
    for (index, node) in graph.nodes().iter().enumerate() {
        for id in node.inputs.iter().flatten() {
            users[id.index()].push(index);
        }
    }
    for (index, node) in graph.nodes().iter().enumerate().rev() {
        let outputs: Vec<ValueId> = node.outputs.iter().flatten().copied().collect();
        let feeds = |id: &ValueId| users[id.index()].iter().all(|&user| side[user]);
        if !side[index]
            && !outputs.is_empty()
            && outputs.iter().all(|id| !users[id.index()].is_empty() && feeds(id))
            && node
                .inputs
                .iter()
                .flatten()
                .any(|id| users[id.index()].iter().any(|&user| !side[user] && user > index))
        {
            side[index] = true;
        }
    }
    side
}

impl FromStr for Selection {
    type Err = Error;

    fn from_str(text: &str) -> Result<Selection> {
        let terms = text
            .split(',')
            .map(|term| {
                let term = term.trim();
                let (exclude, name) = match term.strip_prefix('!') {
                    Some(name) => (true, name.trim()),
                    None => (false, term),
                };
                let what = match name {
                    "" => {
                        return Err(Error::invalid(format!("{text:?}: an empty term among the parameters")));
                    }
                    "all" => What::All,
                    "head" => What::Head,
                    "decoder" => What::Decoder,
                    "norm" => What::Norm,
                    "bias" => What::Bias,
                    _ => match name.strip_prefix("lora:").or((name == "lora").then_some("")) {
                        Some(options) => What::Lora(lora(options, exclude)?),
                        None => What::Pattern(name.to_owned()),
                    },
                };
                Ok(Term { exclude, what })
            })
            .collect::<Result<Vec<Term>>>()?;
        if terms.iter().filter(|term| matches!(term.what, What::Lora(_))).count() > 1 {
            return Err(Error::invalid(format!("{text:?}: adapters are asked for more than once")));
        }
        Ok(Selection { terms })
    }
}

fn lora(options: &str, exclude: bool) -> Result<Lora> {
    let wrong = |what: &str| Error::invalid(format!("lora: {what}; expected lora:r=8 or lora:r=8:alpha=16"));
    if exclude {
        return Err(wrong("adapters cannot be taken away"));
    }
    let (mut rank, mut alpha) = (None, None);
    for option in options.split(':').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("r", value)) => rank = value.parse().ok().filter(|rank| (1..=1024).contains(rank)),
            Some(("alpha", value)) => {
                alpha = Some(value.parse::<f32>().ok().filter(|alpha| alpha.is_finite() && *alpha > 0.0));
            }
            _ => return Err(wrong(&format!("unknown option {option:?}"))),
        }
    }
    let rank: usize = rank.ok_or_else(|| wrong("the rank r is missing or not within 1 to 1024"))?;
    let alpha = match alpha {
        None => rank as f32,
        Some(alpha) => alpha.ok_or_else(|| wrong("alpha is not a positive number"))?,
    };
    Ok(Lora { rank, alpha })
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let not = if term.exclude { "!" } else { "" };
            write!(f, "{comma}{not}")?;
            match &term.what {
                What::All => f.write_str("all")?,
                What::Head => f.write_str("head")?,
                What::Decoder => f.write_str("decoder")?,
                What::Norm => f.write_str("norm")?,
                What::Bias => f.write_str("bias")?,
                What::Lora(lora) if lora.alpha == lora.rank as f32 => write!(f, "lora:r={}", lora.rank)?,
                What::Lora(lora) => write!(f, "lora:r={}:alpha={}", lora.rank, lora.alpha)?,
                What::Pattern(pattern) => f.write_str(pattern)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("decoder.*", "decoder.a.weight", true),
            ("decoder.*", "encoder.decoder.weight", false),
            ("*.bias", "a.b.bias", true),
            ("*.bias", "a.bias.x", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("?", "ab", false),
            ("a?c", "abc", true),
            ("**", "", true),
            ("", "", true),
        ] {
            assert_eq!(name_matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn lists_are_read_and_written() {
        for text in
            ["all", "decoder,!*.bias", "head,norm,bias", "lora:r=8", "lora:r=4:alpha=16,head", "!encoder.*"]
        {
            assert_eq!(text.parse::<Selection>().unwrap().to_string(), text);
        }
        assert_eq!("lora:r=8".parse::<Selection>().unwrap().lora(), Some(Lora { rank: 8, alpha: 8.0 }));
        for text in [
            "",
            "a,,b",
            "lora",
            "lora:r=0",
            "lora:r=x",
            "lora:r=8:alpha=-1",
            "lora:q=1",
            "!lora:r=8",
            "!",
            "lora:r=1,lora:r=2",
        ] {
            assert!(text.parse::<Selection>().is_err(), "{text:?}");
        }
    }
}
