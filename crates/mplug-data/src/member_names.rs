//! Names of an archive's members as text. Archives from Chinese Windows have names in GBK and do not say so.
//!
//! Names that are UTF-8 are taken for it. If all others of the archive are GBK, they are read as that; otherwise none is, and each keeps
//! what its archive's format makes of it. Exact bytes are kept wherever the text is not exact.

use encoding_rs::GBK;

/// The name of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberName {
    /// For people, for sidecars, and for finding the member.
    pub text: String,
    /// The exact bytes, where they are not those of the text.
    pub bytes: Option<Vec<u8>>,
    /// Whether the text has the whole name: with U+FFFD in it, two names may have one text.
    pub is_whole: bool,
}

impl From<String> for MemberName {
    fn from(text: String) -> Self {
        Self { text, bytes: None, is_whole: true }
    }
}

/// The names of an archive. `otherwise` is what its format makes of the name with that index, if it has an opinion on names that are
/// neither UTF-8 nor GBK.
pub(crate) fn decode(names: Vec<Vec<u8>>, otherwise: impl Fn(usize) -> Option<String>) -> Vec<MemberName> {
    let odd = names.iter().filter(|name| std::str::from_utf8(name).is_err());
    let is_gbk = looks_like_gbk(odd.map(Vec::as_slice));
    let decode = |(index, bytes): (usize, Vec<u8>)| match String::from_utf8(bytes) {
        Ok(text) => MemberName::from(text),
        Err(error) => {
            let bytes = error.into_bytes();
            let text = if is_gbk { gbk(&bytes) } else { otherwise(index) };
            let is_whole = text.is_some();
            let text = text.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
            MemberName { text, bytes: Some(bytes), is_whole }
        }
    };
    names.into_iter().enumerate().map(decode).collect()
}

/// Whether all of these are GBK, and most of their characters the common ones of GB 2312: names in other encodings, which decode by
/// chance, rarely have those.
fn looks_like_gbk<'n>(names: impl Iterator<Item = &'n [u8]>) -> bool {
    let (mut common, mut others) = (0_usize, 0_usize);
    for name in names {
        if gbk(name).is_none() {
            return false;
        }
        let mut rest = name;
        while let [first, after @ ..] = rest {
            rest = after;
            if let (0x81.., [second, after @ ..]) = (*first, after) {
                *if *first >= 0xb0 && *second >= 0xa1 { &mut common } else { &mut others } += 1;
                rest = after;
            }
        }
    }
    common > others
}

/// GBK as text, if it is that.
fn gbk(bytes: &[u8]) -> Option<String> {
    let text = GBK.decode_without_bom_handling_and_without_replacement(bytes)?;
    let is_private = |c: char| ('\u{e000}'..='\u{f8ff}').contains(&c) || c.is_control();
    (!text.chars().any(is_private)).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&[u8]]) -> Vec<String> {
        let names = names.iter().map(|name| name.to_vec()).collect();
        decode(names, |_| None).into_iter().map(|name| name.text).collect()
    }

    #[test]
    fn names_of_chinese_windows_are_read() {
        let cat = b"\xd5\xd5\xc6\xac/\xc3\xa8\xba\xcd\xd4\xc2\xc1\xc1.png";
        assert_eq!(texts(&[cat, b"plain.png"]), ["照片/猫和月亮.png", "plain.png"]);
        let found = decode(vec![cat.to_vec(), "猫.png".into()], |_| None);
        assert_eq!((found[0].bytes.as_deref(), found[1].bytes.as_deref()), (Some(&cat[..]), None));
        // One name that is not GBK, and none is read so.
        assert_eq!(
            texts(&[b"\xd5\xd5.png", b"\xff\xff.png"]),
            ["\u{fffd}\u{fffd}.png", "\u{fffd}\u{fffd}.png"]
        );
    }

    #[test]
    fn names_of_other_encodings_are_not_taken_for_chinese() {
        // CP437, Latin-1, Shift-JIS: they decode as GBK, to rare characters.
        for name in [&b"Ma\xa4ana.png"[..], b"\xe9cole.png", b"\x83e\x83X\x83g.png"] {
            assert!(gbk(name).is_some() || name[2] == 0xa4);
            let found = decode(vec![name.to_vec()], |_| Some("by its format".to_owned()));
            assert_eq!((found[0].text.as_str(), found[0].is_whole), ("by its format", true));
            let found = decode(vec![name.to_vec()], |_| None);
            assert!(!found[0].is_whole && found[0].bytes.as_deref() == Some(name), "{found:?}");
        }
    }
}
