//! Chinese words and characters against jieba's and ModelScope's own.

use caption_metrics::tokenize::chinese::modelscope_characters;

use crate::{fixture, strings};

#[test]
fn characters_are_modelscopes() {
    let set = fixture("zh_150.json");
    let mode = &set["modes"]["char_modelscope"];
    for image in set["images"].as_array().unwrap() {
        let id = image["id"].as_str().unwrap();
        assert_eq!(modelscope_characters(image["cand"].as_str().unwrap()), mode["cand_tok"][id]);
        let references: Vec<String> =
            strings(&image["refs"]).iter().map(|text| modelscope_characters(text)).collect();
        assert_eq!(references, strings(&mode["refs_tok"][id]), "{id}");
    }
}

#[cfg(feature = "jieba")]
mod with_jieba {
    use caption_metrics::tokenize::Tokenization;
    use caption_metrics::tokenize::chinese::words;

    use crate::{fixture, strings};

    #[test]
    fn all_sentences_are_cut_as_jieba_cuts_them() {
        let pairs = fixture("zh_jieba_segmentation.json");
        let pairs = pairs["pairs"].as_array().unwrap();
        assert_eq!(pairs.len(), 1096);
        for pair in pairs {
            assert_eq!(words(pair["text"].as_str().unwrap()), strings(&pair["words"]));
        }
    }

    #[test]
    fn the_pipelines_strings_are_the_originals() {
        let set = fixture("zh_150.json");
        for (mode, tokenization) in [("jieba", Tokenization::Jieba), ("jieba_aic_ptb", Tokenization::Aic)] {
            let mode = &set["modes"][mode];
            for image in set["images"].as_array().unwrap() {
                let id = image["id"].as_str().unwrap();
                let candidate = tokenization.tokenize(&[image["cand"].as_str().unwrap()]).unwrap();
                assert_eq!(candidate[0], mode["cand_tok"][id], "{id}");
                let references = tokenization.tokenize(&strings(&image["refs"])).unwrap();
                assert_eq!(references, strings(&mode["refs_tok"][id]), "{id}");
            }
        }
    }
}
