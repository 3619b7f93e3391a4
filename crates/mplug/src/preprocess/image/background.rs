//! The colour that transparent pictures are laid over.
//!
//! Our own design: the original drops alpha, so that a transparent pixel shows the colour hidden under it, and a cut-out drawing is
//! black on black.

use std::fmt;
use std::str::FromStr;

/// A colour: red, green and blue. As text it is a name (`white`, `black`, `gray`) or `#RRGGBB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Background(pub [u8; 3]);

/// A text that names no colour.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected white, black, gray or a colour such as #F0F0F0, found `{0}`")]
pub struct NoColour(pub String);

impl FromStr for Background {
    type Err = NoColour;

    fn from_str(text: &str) -> Result<Self, NoColour> {
        let levels = match text.to_ascii_lowercase().as_str() {
            "white" => Some([255; 3]),
            "black" => Some([0; 3]),
            "gray" | "grey" => Some([128; 3]),
            _ => of_digits(text.strip_prefix('#').unwrap_or(text)),
        };
        levels.map(Self).ok_or_else(|| NoColour(text.to_owned()))
    }
}

/// Six hexadecimal digits.
fn of_digits(digits: &str) -> Option<[u8; 3]> {
    let is_colour = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = is_colour.then(|| u32::from_str_radix(digits, 16).ok()).flatten()?;
    let [_, red, green, blue] = number.to_be_bytes();
    Some([red, green, blue])
}

impl fmt::Display for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02X}{green:02X}{blue:02X}")
    }
}

impl Background {
    /// What is seen of a pixel with `alpha`, as Pillow's `paste` with a mask makes it.
    pub(super) fn under(self, colour: [u8; 3], alpha: u8) -> [u8; 3] {
        let alpha = u32::from(alpha);
        let blend = |below: u8, above: u8| {
            let sum = u32::from(below) * (255 - alpha) + u32::from(above) * alpha + 128;
            ((sum + (sum >> 8)) >> 8) as u8
        };
        [0, 1, 2].map(|i| blend(self.0[i], colour[i]))
    }
}

/// What is seen of a pixel: its colour as it is, whatever its alpha, where there is no background.
pub(super) fn over(background: Option<Background>, colour: [u8; 3], alpha: u8) -> [u8; 3] {
    background.map_or(colour, |background| background.under(colour, alpha))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_names_or_digits() {
        for (text, levels) in
            [("white", [255; 3]), ("Grey", [128; 3]), ("#0102fF", [1, 2, 255]), ("0102FF", [1, 2, 255])]
        {
            let background: Background = text.parse().unwrap();
            assert_eq!(background, Background(levels), "{text}");
            assert_eq!(background.to_string().parse(), Ok(background));
        }
        for text in ["", "whitish", "#12345", "#1234567", "+12345", "#12345é", "１２３"] {
            assert_eq!(text.parse::<Background>(), Err(NoColour(text.to_owned())));
        }
    }

    #[test]
    fn alpha_blends_as_in_pillow() {
        // Pillow 13: paste((10, 200, 33), mask=alpha) on (255, 3, 90)
        let cases = [(0, [255, 3, 90]), (1, [254, 4, 90]), (77, [181, 62, 73]), (128, [132, 102, 61])];
        for (alpha, expected) in cases {
            assert_eq!(over(Some(Background([255, 3, 90])), [10, 200, 33], alpha), expected);
        }
        assert_eq!(over(None, [10, 200, 33], 0), [10, 200, 33]);
    }
}
