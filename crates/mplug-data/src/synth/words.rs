//! The words of both languages: one table, read by those who write (`caption`, `question`) and by the parser (`check`).
//!
//! This file refuses to know sentences.

use super::scene::{Colour, Kind, Place, Relation};

/// Chinese numbers from one to four, as said before a measure word.
pub(super) const NUMBERS_ZH: [&str; 4] = ["一", "两", "三", "四"];
/// English numbers from two to four.
pub(super) const NUMBERS_EN: [&str; 3] = ["two", "three", "four"];

/// How one kind is called.
pub(super) struct KindWords {
    pub(super) zh: &'static str,
    pub(super) measure: &'static str,
    pub(super) en: &'static str,
    pub(super) plural: &'static str,
    /// What else it may be called in Chinese.
    pub(super) synonyms_zh: &'static [&'static str],
}

impl Kind {
    pub(super) fn words(self) -> KindWords {
        let (zh, measure, en, plural) = match self {
            Self::Circle => ("圆形", "个", "circle", "circles"),
            Self::Square => ("方形", "个", "square", "squares"),
            Self::Triangle => ("三角形", "个", "triangle", "triangles"),
            Self::Star => ("星形", "个", "star", "stars"),
            Self::Heart => ("心形", "个", "heart", "hearts"),
            Self::Diamond => ("菱形", "个", "diamond", "diamonds"),
            Self::House => ("房子", "栋", "house", "houses"),
            Self::Tree => ("树", "棵", "tree", "trees"),
            Self::Sun => ("太阳", "个", "sun", "suns"),
            Self::Moon => ("月亮", "个", "moon", "moons"),
            Self::Boat => ("船", "艘", "boat", "boats"),
            Self::Person => ("人", "个", "person", "people"),
            Self::Car => ("汽车", "辆", "car", "cars"),
            Self::Flower => ("花", "朵", "flower", "flowers"),
            Self::Cat => ("猫", "只", "cat", "cats"),
            Self::Dog => ("狗", "只", "dog", "dogs"),
            Self::Fish => ("鱼", "条", "fish", "fish"),
            Self::Bird => ("鸟", "只", "bird", "birds"),
        };
        let synonyms_zh: &[&str] = match self {
            Self::Square => &["正方形"],
            Self::Star => &["五角星"],
            Self::Heart => &["爱心"],
            Self::Boat => &["小船"],
            Self::Car => &["车"],
            Self::Bird => &["小鸟"],
            _ => &[],
        };
        KindWords { zh, measure, en, plural, synonyms_zh }
    }
}

impl Colour {
    pub(super) fn zh(self) -> &'static str {
        match self {
            Self::Red => "红色",
            Self::Orange => "橙色",
            Self::Yellow => "黄色",
            Self::Green => "绿色",
            Self::Blue => "蓝色",
            Self::Purple => "紫色",
            Self::White => "白色",
            Self::Black => "黑色",
        }
    }

    pub(super) fn en(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Purple => "purple",
            Self::White => "white",
            Self::Black => "black",
        }
    }
}

impl Place {
    pub(super) fn zh(self) -> &'static str {
        match self {
            Self::Grass => "草地上",
            Self::Sea => "海上",
            Self::Water => "水里",
            Self::Snow => "雪地上",
            Self::Night => "夜空下",
            Self::Beach => "沙滩上",
            Self::Street => "马路上",
        }
    }

    pub(super) fn en(self) -> &'static str {
        match self {
            Self::Grass => "on the grass",
            Self::Sea => "on the sea",
            Self::Water => "in the water",
            Self::Snow => "in the snow",
            Self::Night => "at night",
            Self::Beach => "on the beach",
            Self::Street => "on the street",
        }
    }

    /// The answer to "where": as [`Self::en`], but for the night, which is no place.
    pub(super) fn where_en(self) -> &'static str {
        if self == Self::Night { "under the night sky" } else { self.en() }
    }

    /// The place alone, Chinese and English.
    pub(super) fn nouns(self) -> (&'static str, &'static str) {
        match self {
            Self::Grass => ("草地", "grass"),
            Self::Sea => ("海", "sea"),
            Self::Water => ("水", "water"),
            Self::Snow => ("雪地", "snow"),
            Self::Night => ("夜空", "night sky"),
            Self::Beach => ("沙滩", "beach"),
            Self::Street => ("马路", "street"),
        }
    }
}

/// What a word of a caption names in the picture: what can be looked for there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// Things of a kind.
    Kind(Kind),
    /// Things of a colour.
    Colour(Colour),
    /// A place.
    Place(Place),
}

impl Named {
    /// What `word` names, a word of either language as the captions have them. None for numbers, relations and function words.
    pub fn of(word: &str) -> Option<Self> {
        let is_kind = |kind: &Kind| {
            let words = kind.words();
            [words.zh, words.en, words.plural].contains(&word) || words.synonyms_zh.contains(&word)
        };
        let is_colour = |colour: &Colour| [colour.zh(), colour.en()].contains(&word);
        // A dictionary may take 草地上 for one word or for two.
        let is_place = |place: &Place| {
            word.starts_with(place.nouns().0)
                || place.en().rsplit(' ').next().is_some_and(|noun| noun == word)
        };
        (Kind::all().find(is_kind).map(Self::Kind))
            .or_else(|| Colour::ALL.into_iter().find(is_colour).map(Self::Colour))
            .or_else(|| Place::ALL.into_iter().find(is_place).map(Self::Place))
    }
}

impl Relation {
    pub(super) fn zh(self) -> &'static str {
        match self {
            Self::LeftOf => "左边",
            Self::RightOf => "右边",
            Self::Above => "上面",
            Self::Below => "下面",
            Self::Beside => "旁边",
        }
    }

    pub(super) fn en(self) -> &'static str {
        match self {
            Self::LeftOf => "to the left of",
            Self::RightOf => "to the right of",
            Self::Above => "above",
            Self::Below => "below",
            Self::Beside => "beside",
        }
    }

    /// The spot itself: "on the left". Beside has none.
    pub(super) fn spot_en(self) -> &'static str {
        match self {
            Self::LeftOf => "on the left",
            Self::RightOf => "on the right",
            Self::Above => "at the top",
            Self::Below | Self::Beside => "at the bottom",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_kinds_colours_and_places() {
        for (word, expected) in [
            ("圆形", Some(Named::Kind(Kind::Circle))),
            ("小船", Some(Named::Kind(Kind::Boat))),
            ("people", Some(Named::Kind(Kind::Person))),
            ("红色", Some(Named::Colour(Colour::Red))),
            ("草地上", Some(Named::Place(Place::Grass))),
            ("night", Some(Named::Place(Place::Night))),
            ("上面", None),
            ("两", None),
            ("the", None),
        ] {
            assert_eq!(Named::of(word), expected, "{word}");
        }
    }
}
