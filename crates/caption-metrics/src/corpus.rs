//! Candidates and references as numbered words.
//!
//! The reference evaluator compares strings again and again; here each word becomes a number once, and scorers see
//! numbers only. Words are what Python's `str.split()` finds, which BLEU and CIDEr use. ROUGE-L splits at the space alone:
//! captions for which that differs (a no-break space inside a token, an empty caption) keep a second form.

use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::Error;

/// A word's number. 0 is no word, so that an n-gram shorter than four needs no length beside it.
pub type Word = u32;

/// Words with their numbers.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    words: FxHashMap<Box<str>, Word>,
}

impl Vocabulary {
    /// The number of `word`, a new one if it has none yet.
    pub(crate) fn number(&mut self, word: &str) -> Result<Word, Error> {
        if let Some(&number) = self.words.get(word) {
            return Ok(number);
        }
        let number = Word::try_from(self.words.len() + 1).map_err(|_| Error::Vocabulary)?;
        self.words.insert(word.into(), number);
        Ok(number)
    }

    /// The number of `word`, if it has one.
    fn get(&self, word: &str) -> Option<Word> {
        self.words.get(word).copied()
    }

    fn len(&self) -> usize {
        self.words.len()
    }
}

/// Images, each with one candidate and at least one reference.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// All sentences' words, one after the other.
    words: Vec<Word>,
    /// Where each sentence begins in `words`, and where the last one ends.
    sentence_starts: Vec<usize>,
    /// Where each image begins among the sentences, and where the last one ends. The first sentence of an image is its
    /// candidate.
    image_starts: Vec<usize>,
    /// Sentences whose words between single spaces are not those of `words`.
    at_spaces: FxHashMap<usize, Vec<Word>>,
}

impl Corpus {
    /// The corpus of `candidates` and their `references`, both tokenised, both in the same order of images.
    ///
    /// # Errors
    /// [`Error::Lengths`] unless there are as many candidates as lists of references, [`Error::NoReferences`] for an empty
    /// list.
    pub fn new<C, R>(candidates: &[C], references: &[Vec<R>]) -> Result<Self, Error>
    where
        C: AsRef<str>,
        R: AsRef<str>,
    {
        Self::over(&Vocabulary::default(), candidates, references).map(|(corpus, _)| corpus)
    }

    /// As [`Corpus::new`], with the numbers of `known` for the words that it has; also the numbers of all other words, which
    /// begin where those of `known` end.
    pub(crate) fn over<C, R>(
        known: &Vocabulary,
        candidates: &[C],
        references: &[Vec<R>],
    ) -> Result<(Self, Vocabulary), Error>
    where
        C: AsRef<str>,
        R: AsRef<str>,
    {
        if candidates.len() != references.len() {
            return Err(Error::Lengths { candidates: candidates.len(), references: references.len() });
        }
        let mut builder = Builder { known, own: Vocabulary::default(), corpus: Self::empty() };
        for (image, (candidate, references)) in candidates.iter().zip(references).enumerate() {
            if references.is_empty() {
                return Err(Error::NoReferences { image });
            }
            builder.add(candidate.as_ref())?;
            references.iter().try_for_each(|reference| builder.add(reference.as_ref()))?;
            builder.end_image();
        }
        Ok((builder.corpus, builder.own))
    }

    fn empty() -> Self {
        Self {
            words: Vec::new(),
            sentence_starts: vec![0],
            image_starts: vec![0],
            at_spaces: FxHashMap::default(),
        }
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.image_starts.len() - 1
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The words of the image's candidate.
    pub(crate) fn candidate(&self, image: usize) -> &[Word] {
        self.sentence(self.image_starts[image])
    }

    /// The words of each of the image's references.
    pub(crate) fn references(&self, image: usize) -> impl ExactSizeIterator<Item = &[Word]> {
        self.reference_numbers(image).map(|sentence| self.sentence(sentence))
    }

    /// The candidate's words between single spaces.
    pub(crate) fn candidate_at_spaces(&self, image: usize) -> &[Word] {
        self.sentence_at_spaces(self.image_starts[image])
    }

    /// The references' words between single spaces.
    pub(crate) fn references_at_spaces(&self, image: usize) -> impl ExactSizeIterator<Item = &[Word]> {
        self.reference_numbers(image).map(|sentence| self.sentence_at_spaces(sentence))
    }

    fn reference_numbers(&self, image: usize) -> Range<usize> {
        self.image_starts[image] + 1..self.image_starts[image + 1]
    }

    fn sentence(&self, sentence: usize) -> &[Word] {
        &self.words[self.sentence_starts[sentence]..self.sentence_starts[sentence + 1]]
    }

    fn sentence_at_spaces(&self, sentence: usize) -> &[Word] {
        self.at_spaces.get(&sentence).map_or_else(|| self.sentence(sentence), Vec::as_slice)
    }
}

/// A corpus in the making.
struct Builder<'k> {
    known: &'k Vocabulary,
    own: Vocabulary,
    corpus: Corpus,
}

impl Builder<'_> {
    fn add(&mut self, sentence: &str) -> Result<(), Error> {
        for word in sentence.split(is_python_space).filter(|word| !word.is_empty()) {
            let number = self.number(word)?;
            self.corpus.words.push(number);
        }
        if splits_differ(sentence) {
            let words = sentence.split(' ').map(|word| self.number(word)).collect::<Result<_, _>>()?;
            self.corpus.at_spaces.insert(self.corpus.sentence_starts.len() - 1, words);
        }
        self.corpus.sentence_starts.push(self.corpus.words.len());
        Ok(())
    }

    fn end_image(&mut self) {
        self.corpus.image_starts.push(self.corpus.sentence_starts.len() - 1);
    }

    fn number(&mut self, word: &str) -> Result<Word, Error> {
        if let Some(number) = self.known.get(word) {
            return Ok(number);
        }
        // New words come after all known ones.
        let first = Word::try_from(self.known.len()).map_err(|_| Error::Vocabulary)?;
        self.own.number(word)?.checked_add(first).ok_or(Error::Vocabulary)
    }
}

/// White space as Python's `str.split()` has it: Unicode's, and the four separators of ASCII.
fn is_python_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Whether `split(' ')` gives other words than `split()`.
fn splits_differ(sentence: &str) -> bool {
    sentence.is_empty()
        || sentence.starts_with(' ')
        || sentence.ends_with(' ')
        || sentence.contains("  ")
        || sentence.contains(|character| character != ' ' && is_python_space(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_the_same_number_everywhere() {
        let corpus = Corpus::new(&["a b a", "b"], &[vec!["b c"], vec!["a", ""]]).unwrap();
        assert_eq!(corpus.len(), 2);
        assert_eq!(corpus.candidate(0), [1, 2, 1]);
        assert_eq!(corpus.references(0).collect::<Vec<_>>(), [[2, 3]]);
        assert_eq!(corpus.candidate(1), [2]);
        assert_eq!(corpus.references(1).map(<[Word]>::len).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn known_words_keep_their_numbers() {
        let mut known = Vocabulary::default();
        known.number("b").unwrap();
        let corpus = Corpus::over(&known, &["a b"], &[vec!["b a c"]]).unwrap().0;
        assert_eq!(corpus.candidate(0), [2, 1]);
        assert_eq!(corpus.references(0).next().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn a_no_break_space_splits_only_where_python_splits_at_it() {
        let corpus = Corpus::new(&["1\u{a0}1/2 cups"], &[vec!["", " a  b"]]).unwrap();
        assert_eq!(corpus.candidate(0).len(), 3);
        assert_eq!(corpus.candidate_at_spaces(0).len(), 2);
        let at_spaces: Vec<usize> = corpus.references_at_spaces(0).map(<[Word]>::len).collect();
        assert_eq!(at_spaces, [1, 4], "an empty caption is one empty word there");
        assert_eq!(corpus.references(0).map(<[Word]>::len).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let none: [Vec<&str>; 0] = [];
        assert_eq!(Corpus::new(&["a"], &none).unwrap_err(), Error::Lengths { candidates: 1, references: 0 });
        let empty: [Vec<&str>; 1] = [vec![]];
        assert_eq!(Corpus::new(&["a"], &empty).unwrap_err(), Error::NoReferences { image: 0 });
    }
}
