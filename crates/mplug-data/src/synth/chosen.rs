//! Which text of a drawn picture stands for it where one is wanted: the same for training's held-out pictures and for
//! evaluation, so that their figures are of the same texts. This file refuses to know how texts are worded.

use super::question::{Question, questions};
use super::scene::Scene;
use crate::dataset::Language;

/// The caption of picture `number` among its `captions`; `None` if it has none.
pub fn chosen_caption<S: AsRef<str>>(captions: &[S], number: u64) -> Option<&str> {
    captions.get(choice(number, captions.len())).map(AsRef::as_ref)
}

/// What is asked about picture `number`, which shows `scene`; `None` if nothing can be.
pub fn chosen_question(scene: &Scene, language: Language, number: u64) -> Option<Question> {
    let mut asked = questions(scene, language, number);
    (!asked.is_empty()).then(|| asked.swap_remove(choice(number, asked.len())))
}

/// A fixed but mixed choice of one of `len`: Fibonacci hashing of the number.
fn choice(number: u64, len: usize) -> usize {
    ((number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % len.max(1) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::super::{EVAL_SEED, captions_en, compose};
    use super::*;

    #[test]
    fn choices_repeat_and_differ() {
        assert_eq!(chosen_caption(&[] as &[&str], 3), None);
        let captions = ["a", "b", "c"];
        let chosen: Vec<_> = (0..32).map(|number| chosen_caption(&captions, number)).collect();
        assert!(captions.iter().all(|caption| chosen.contains(&Some(*caption))));
        for number in 0..8 {
            let scene = compose(EVAL_SEED, number);
            let question =
                chosen_question(&scene, Language::English, number).expect("something can be asked");
            assert!(questions(&scene, Language::English, number).contains(&question));
            assert!(chosen_caption(&captions_en(&scene), number).is_some());
        }
    }
}
