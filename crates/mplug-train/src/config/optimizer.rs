//! How gradients change weights: AdamW, Adam or SGD, as a recipe says it.

use serde::{Deserialize, Serialize};

use super::check::ensure;
use crate::error::TrainError;

/// How gradients change weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Keys")]
pub struct OptimizerSection {
    /// The rule, and what it alone has.
    #[serde(flatten)]
    pub rule: UpdateRule,
    /// Peak learning rate of everything but the visual encoder.
    pub learning_rate: f64,
    /// Peak learning rate of the visual encoder; the same if absent.
    pub vision_learning_rate: Option<f64>,
    /// Decay of weights, of those in `groups`.
    pub weight_decay: f64,
    /// What decays.
    pub groups: Groups,
    /// Largest norm of the gradient; longer ones are scaled down. 0 turns clipping off.
    pub clip_norm: f64,
    /// Decay of the running average of the weights, which is what is evaluated and kept; 0 turns it off.
    pub average_decay: f64,
}

/// A rule of PyTorch's `torch.optim`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum UpdateRule {
    /// AdamW (Loshchilov and Hutter 2019): weights decay by themselves.
    AdamW(Moments),
    /// Adam (Kingma and Ba 2015): the decay is part of the gradient.
    Adam(Moments),
    /// Gradient descent with momentum: the decay is part of the gradient.
    Sgd {
        /// The share of the last steps' direction that stays; 0 turns it off.
        momentum: f64,
        /// Whether a step looks ahead along its momentum (Nesterov).
        nesterov: bool,
    },
}

/// How Adam averages gradients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Moments {
    /// Decay rates of the two moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self { betas: [0.9, 0.999], eps: 1e-8 }
    }
}

/// Which weights decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Groups {
    /// The research code's: those whose names hold neither `bias` nor `LayerNorm.weight`.
    #[default]
    Research,
    /// ModelScope's trainer's: all.
    Single,
}

/// The section's keys as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    kind: Kind,
    learning_rate: f64,
    vision_learning_rate: Option<f64>,
    betas: Option<[f64; 2]>,
    eps: Option<f64>,
    momentum: Option<f64>,
    nesterov: Option<bool>,
    weight_decay: f64,
    #[serde(default)]
    groups: Groups,
    #[serde(default)]
    clip_norm: f64,
    #[serde(default)]
    average_decay: f64,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    AdamW,
    Adam,
    Sgd,
}

impl Keys {
    /// The rule, or what is wrong with its keys: one of another rule would change nothing.
    fn rule(&self) -> Result<UpdateRule, String> {
        let (of_adam, of_sgd) = (
            [("betas", self.betas.is_some()), ("eps", self.eps.is_some())],
            [("momentum", self.momentum.is_some()), ("nesterov", self.nesterov.is_some())],
        );
        let (unused, kind) = match self.kind {
            Kind::AdamW => (of_sgd, "adamw"),
            Kind::Adam => (of_sgd, "adam"),
            Kind::Sgd => (of_adam, "sgd"),
        };
        if let Some((key, _)) = unused.iter().find(|(_, is_there)| *is_there) {
            return Err(format!("optimizer.{key}: expected no such key, for `{kind}` does not use it"));
        }
        let Moments { betas, eps } = Moments::default();
        let moments = Moments { betas: self.betas.unwrap_or(betas), eps: self.eps.unwrap_or(eps) };
        Ok(match self.kind {
            Kind::AdamW => UpdateRule::AdamW(moments),
            Kind::Adam => UpdateRule::Adam(moments),
            Kind::Sgd => UpdateRule::Sgd {
                momentum: self.momentum.unwrap_or_default(),
                nesterov: self.nesterov.unwrap_or_default(),
            },
        })
    }
}

impl TryFrom<Keys> for OptimizerSection {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        Ok(Self {
            rule: keys.rule()?,
            learning_rate: keys.learning_rate,
            vision_learning_rate: keys.vision_learning_rate,
            weight_decay: keys.weight_decay,
            groups: keys.groups,
            clip_norm: keys.clip_norm,
            average_decay: keys.average_decay,
        })
    }
}

impl OptimizerSection {
    /// Checks what types cannot say.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let mut numbers = vec![
            ("optimizer.learning_rate", self.learning_rate, f64::MAX),
            ("optimizer.vision_learning_rate", self.vision_learning_rate.unwrap_or(0.0), f64::MAX),
            ("optimizer.weight_decay", self.weight_decay, f64::MAX),
            ("optimizer.clip_norm", self.clip_norm, f64::MAX),
            ("optimizer.average_decay", self.average_decay, 1.0),
        ];
        match self.rule {
            UpdateRule::AdamW(Moments { betas, eps }) | UpdateRule::Adam(Moments { betas, eps }) => {
                numbers.extend(betas.map(|beta| ("optimizer.betas", beta, 1.0)));
                numbers.push(("optimizer.eps", eps, f64::MAX));
            }
            UpdateRule::Sgd { momentum, nesterov } => {
                numbers.push(("optimizer.momentum", momentum, 1.0));
                ensure(!nesterov || momentum > 0.0, "optimizer.nesterov", || {
                    ("momentum above 0 with it".to_owned(), momentum.to_string())
                })?;
            }
        }
        for (field, value, limit) in numbers {
            check_number(field, value, limit)?;
        }
        Ok(())
    }
}

/// A finite number from 0 to `limit`.
pub(super) fn check_number(field: &'static str, value: f64, limit: f64) -> Result<(), TrainError> {
    let good = value.is_finite() && (0.0..=limit).contains(&value);
    ensure(good, field, || (format!("a number from 0 to {limit:e}"), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<OptimizerSection, String> {
        let section: OptimizerSection =
            toml::from_str(&format!("learning_rate = 0.1\nweight_decay = 0.0\n{text}"))
                .map_err(|error| error.message().to_owned())?;
        section.check().map_err(|error| error.to_string())?;
        let again: OptimizerSection = toml::from_str(&toml::to_string(&section).unwrap()).unwrap();
        assert_eq!(section, again, "what is written is read");
        Ok(section)
    }

    #[test]
    fn each_rule_has_its_own_keys() {
        assert_eq!(read("").unwrap().rule, UpdateRule::AdamW(Moments::default()));
        let moments = Moments { betas: [0.8, 0.9], eps: 1e-8 };
        assert_eq!(read("kind = \"adam\"\nbetas = [0.8, 0.9]").unwrap().rule, UpdateRule::Adam(moments));
        let sgd = read("kind = \"sgd\"\nmomentum = 0.9\nnesterov = true").unwrap().rule;
        assert_eq!(sgd, UpdateRule::Sgd { momentum: 0.9, nesterov: true });
        for (text, word) in [
            ("kind = \"sgd\"\nbetas = [0.9, 0.9]", "optimizer.betas"),
            ("kind = \"sgd\"\neps = 1e-8", "optimizer.eps"),
            ("momentum = 0.9", "optimizer.momentum"),
            ("kind = \"adam\"\nnesterov = false", "optimizer.nesterov"),
            ("kind = \"sgd\"\nnesterov = true", "optimizer.nesterov"),
            ("kind = \"sgd\"\nmomentum = 1.5", "optimizer.momentum"),
            ("kind = \"lamb\"", "lamb"),
            ("dampening = 0.1", "dampening"),
            ("betas = [0.9, -0.1]", "optimizer.betas"),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}
