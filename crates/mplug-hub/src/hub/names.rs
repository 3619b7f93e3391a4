//! What models are called: `owner/name` on the hub, and short names for the published models of this family. Of those only
//! what their cards and the original's code confirm is listed. Knows no network and no folder.

use std::fmt;
use std::str::FromStr;

use mplug::config::Task;

use super::HubError;

/// Most characters of an owner's or a model's name.
const MAX_NAME: usize = 128;

/// The owner of the published models was renamed: both names are in use, for the same models.
const RENAMED: [&str; 2] = ["damo", "iic"];

/// A model on the hub: `owner/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelId {
    text: Box<str>,
    /// Bytes before the slash.
    owner_len: usize,
}

impl ModelId {
    fn new(owner: &str, name: &str) -> Self {
        Self { text: format!("{owner}/{name}").into(), owner_len: owner.len() }
    }

    /// Who published it.
    pub fn owner(&self) -> &str {
        &self.text[..self.owner_len]
    }

    /// What it is called there.
    pub fn name(&self) -> &str {
        &self.text[self.owner_len + 1..]
    }

    /// The id under the other name of its owner, where that was renamed (`damo`, `iic`).
    pub fn with_renamed_owner(&self) -> Option<Self> {
        let index = RENAMED.iter().position(|owner| *owner == self.owner())?;
        Some(Self::new(RENAMED[1 - index], self.name()))
    }
}

/// Reads `owner/name`, or a short name or a name without its owner of [`PUBLISHED`].
impl FromStr for ModelId {
    type Err = HubError;

    /// # Errors
    /// [`HubError::Name`] for anything else, and for characters that no model's name has.
    fn from_str(text: &str) -> Result<Self, HubError> {
        if let Some(model) = PUBLISHED.iter().find(|model| model.short_name == text || model.name == text) {
            return Ok(model.id());
        }
        match text.split_once('/') {
            Some((owner, name)) if is_name(owner) && is_name(name) => Ok(Self::new(owner, name)),
            _ => Err(HubError::Name { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The names become parts of paths and addresses: nothing that means something there.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ['_', '-', '.'].contains(&c);
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(is_plain) && !text.starts_with('.')
}

/// Whether `text` can be a revision: a branch, a tag or a commit. It becomes a part of a path too.
pub(super) fn is_revision(text: &str) -> bool {
    text.len() <= MAX_NAME && text.split('/').all(is_name)
}

/// A published model of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedModel {
    /// What it can be called instead of its id.
    pub short_name: &'static str,
    owner: &'static str,
    name: &'static str,
    /// What it does; nothing yet where it was only pre-trained.
    pub task: Option<Task>,
    /// The language that it reads and writes: `zh` or `en`.
    pub language: &'static str,
    /// `base` (ViT-B/16) or `large` (ViT-L/14).
    pub size: &'static str,
    /// Its parameters as its card says, in millions.
    pub million_parameters: Option<u32>,
    /// What is downloaded, in MB: an estimate from the shapes of the original's network, of which a file has every value as f32.
    /// Momentum models, which a file may have too, would take as much again.
    pub megabytes: u32,
}

impl PublishedModel {
    /// The id on the hub.
    pub fn id(&self) -> ModelId {
        ModelId::new(self.owner, self.name)
    }
}

/// The published models whose ids are confirmed.
pub const PUBLISHED: [PublishedModel; 7] = [
    PublishedModel {
        million_parameters: Some(350),
        ..published(
            "caption-base-zh",
            "mplug_image-captioning_coco_base_zh",
            Some(Task::ImageCaptioning),
            ["zh", "base"],
            1800,
        )
    },
    published(
        "caption-base-en",
        "mplug_image-captioning_coco_base_en",
        Some(Task::ImageCaptioning),
        ["en", "base"],
        1900,
    ),
    PublishedModel {
        million_parameters: Some(600),
        ..published(
            "caption-large-en",
            "mplug_image-captioning_coco_large_en",
            Some(Task::ImageCaptioning),
            ["en", "large"],
            3000,
        )
    },
    published(
        "ask-base-zh",
        "mplug_visual-question-answering_coco_base_zh",
        Some(Task::VisualQuestionAnswering),
        ["zh", "base"],
        1800,
    ),
    published(
        "ask-large-en",
        "mplug_visual-question-answering_coco_large_en",
        Some(Task::VisualQuestionAnswering),
        ["en", "large"],
        3000,
    ),
    published(
        "match-large-en",
        "mplug_image-text-retrieval_flickr30k_large_en",
        Some(Task::ImageTextRetrieval),
        ["en", "large"],
        2400,
    ),
    published("backbone-base-en", "mplug_backbone_base_en", None, ["en", "base"], 1900),
];

const fn published(
    short_name: &'static str,
    name: &'static str,
    task: Option<Task>,
    [language, size]: [&'static str; 2],
    megabytes: u32,
) -> PublishedModel {
    let (owner, million_parameters) = (RENAMED[0], None);
    PublishedModel { short_name, owner, name, task, language, size, million_parameters, megabytes }
}

/// The published model of that id, under either name of its owner.
pub fn published_model(id: &ModelId) -> Option<&'static PublishedModel> {
    let is_it = |model: &&PublishedModel| model.name == id.name() && RENAMED.contains(&id.owner());
    PUBLISHED.iter().find(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ids_or_short() {
        let long: ModelId = "damo/mplug_image-captioning_coco_base_zh".parse().unwrap();
        assert_eq!("caption-base-zh".parse::<ModelId>().unwrap(), long);
        assert_eq!("mplug_image-captioning_coco_base_zh".parse::<ModelId>().unwrap(), long);
        let renamed = long.with_renamed_owner().unwrap();
        assert_eq!(renamed.to_string(), "iic/mplug_image-captioning_coco_base_zh");
        assert_eq!(renamed.with_renamed_owner().unwrap(), long);
        assert_eq!("someone/model".parse::<ModelId>().unwrap().with_renamed_owner(), None);
    }

    #[test]
    fn sizes_are_those_of_the_original_s_tensors() {
        use mplug::checkpoint::expected::stored_tensors;
        use mplug::config::ModelConfig;

        // CLIP's text tower lies in every file: 63.4 and 123.7 million values.
        for (model, million_of_clip) in
            PUBLISHED.iter().map(|m| (m, if m.size == "base" { 63.4 } else { 123.7 }))
        {
            let words = if model.language == "zh" { 21128 } else { 30522 };
            let mut config = match model.size {
                "base" => ModelConfig::base_captioning_zh(),
                _ => ModelConfig::large_captioning(words),
            };
            config.text.vocab_size = words;
            let config = config.with_task(model.task.unwrap_or(Task::ImageCaptioning));
            let values: usize =
                stored_tensors(&config).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
            let tied = if model.task == Some(Task::ImageTextRetrieval) { 0 } else { words * 768 };
            let gigabytes = ((values - tied) as f64 / 1e6 + million_of_clip) * 4.0 / 1e3;
            assert!(
                (f64::from(model.megabytes) / 1e3 - gigabytes).abs() < 0.1,
                "{}: {gigabytes}",
                model.short_name
            );
        }
        let renamed: ModelId = "iic/mplug_backbone_base_en".parse().unwrap();
        assert_eq!(published_model(&renamed).unwrap().short_name, "backbone-base-en");
        assert_eq!(published_model(&"someone/mplug_backbone_base_en".parse().unwrap()), None);
    }

    #[test]
    fn what_leads_elsewhere_is_no_name() {
        let long = format!("a/{}", "b".repeat(MAX_NAME + 1));
        for bad in [
            "", "a", "a/", "/b", "a/b/c", "../b", "a/..", "a/.b", "a/b c", "a/b?c", "a\\b", "a/b\n", "猫/b",
            &long,
        ] {
            assert!(bad.parse::<ModelId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn revisions_are_branches_tags_and_commits() {
        for good in ["master", "v1.0.1", "feature/x", "0123abc"] {
            assert!(is_revision(good), "{good}");
        }
        for bad in ["", "..", "a/../b", "/a", "a/", "a b", "a&b"] {
            assert!(!is_revision(bad), "{bad}");
        }
    }

    #[test]
    fn short_names_differ() {
        let mut names = PUBLISHED.map(|model| model.short_name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PUBLISHED.len());
        for model in PUBLISHED {
            assert_eq!(model.id().to_string().parse::<ModelId>().unwrap(), model.id());
        }
    }
}
