//! SPICE (Anderson et al. 2016) by its official program, where the user has it: `spice-1.0.jar` with the libraries and the
//! CoreNLP 3.6.0 models that it needs, and a Java of version 8 to 14. SPICE needs a dependency parser, so there is no form
//! of our own; without the program the figure is not computed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::Scores;

/// The memory that the reference evaluator gives the program.
const JAVA_MEMORY: &str = "-Xmx8G";

/// The official program.
#[derive(Debug, Clone)]
pub struct Spice {
    jar: PathBuf,
    java: PathBuf,
}

/// Why SPICE could not be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpiceError {
    /// The jar cannot be found.
    #[error("{}: {source}", path.display())]
    Jar {
        /// The jar's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Java cannot be run, or files for it cannot be written.
    #[error("{}: {source}", what.display())]
    Io {
        /// The program or file.
        what: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program failed.
    #[error(
        "spice-1.0.jar failed: {message} (it needs Java 8 to 14 and the CoreNLP 3.6.0 models in its `lib` folder)"
    )]
    Failed {
        /// The last thing it said.
        message: String,
    },
    /// The program's answer is not what it should be.
    #[error("spice-1.0.jar answered {what}")]
    Answer {
        /// What is wrong with it.
        what: String,
    },
}

/// An image as the program reads it.
#[derive(Serialize)]
struct Question<'c> {
    image_id: usize,
    test: &'c str,
    refs: Vec<&'c str>,
}

/// An image as the program answers it, as far as we read it.
#[derive(Deserialize)]
struct Answer {
    image_id: usize,
    scores: AnswerScores,
}

#[derive(Deserialize)]
struct AnswerScores {
    #[serde(rename = "All")]
    all: AnswerScore,
}

#[derive(Deserialize)]
struct AnswerScore {
    f: f64,
}

impl Spice {
    /// The program `jar`, run by the `java` of the path.
    ///
    /// # Errors
    /// [`SpiceError::Jar`] if there is no such file.
    pub fn new(jar: &Path) -> Result<Self, SpiceError> {
        // The program runs in the jar's folder, where a relative path would lead elsewhere.
        let jar = fs::canonicalize(jar).map_err(|source| SpiceError::Jar { path: jar.to_owned(), source })?;
        Ok(Self { jar, java: "java".into() })
    }

    /// Runs the program by another Java.
    #[must_use]
    pub fn with_java(self, java: &Path) -> Self {
        Self { java: java.to_owned(), ..self }
    }

    /// F-scores of tokenised `candidates` against their `references`; the corpus figure is their mean.
    ///
    /// # Errors
    /// If Java or the program fails.
    pub fn score<C, R>(&self, candidates: &[C], references: &[Vec<R>]) -> Result<Scores, SpiceError>
    where
        C: AsRef<str>,
        R: AsRef<str>,
    {
        let questions: Vec<Question<'_>> = candidates
            .iter()
            .zip(references)
            .enumerate()
            .map(|(image_id, (candidate, references))| Question {
                image_id,
                test: candidate.as_ref(),
                refs: references.iter().map(AsRef::as_ref).collect(),
            })
            .collect();
        let folder = tempfile::tempdir().map_err(|source| io_error(&std::env::temp_dir(), source))?;
        let (input, output) = (folder.path().join("in.json"), folder.path().join("out.json"));
        let json = serde_json::to_vec(&questions).map_err(|error| io_error(&input, error.into()))?;
        fs::write(&input, json).map_err(|source| io_error(&input, source))?;
        self.run(&input, &output)?;
        let answer = fs::read(&output).map_err(|source| io_error(&output, source))?;
        read_answer(&answer, candidates.len())
    }

    fn run(&self, input: &Path, output: &Path) -> Result<(), SpiceError> {
        let mut command = Command::new(&self.java);
        command.args(["-jar", JAVA_MEMORY]).arg(&self.jar).arg(input);
        command.arg("-out").arg(output).args(["-subset", "-silent"]);
        if let Some(folder) = self.jar.parent() {
            command.current_dir(folder);
        }
        let ended = command.output().map_err(|source| io_error(&self.java, source))?;
        // Without its script engine the program ends well and leaves nothing.
        if ended.status.success() && output.exists() {
            return Ok(());
        }
        Err(SpiceError::Failed { message: last_line(&ended) })
    }
}

fn io_error(what: &Path, source: io::Error) -> SpiceError {
    SpiceError::Io { what: what.to_owned(), source }
}

/// The first line of the last exception, or the last line of all.
fn last_line(ended: &Output) -> String {
    let said = String::from_utf8_lossy(&ended.stderr);
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let exception = lines().rfind(|line| line.contains("Exception") || line.contains("Error"));
    exception.or_else(|| lines().next_back()).unwrap_or("without a word").to_owned()
}

fn read_answer(json: &[u8], num_images: usize) -> Result<Scores, SpiceError> {
    let answers: Vec<Answer> =
        serde_json::from_slice(json).map_err(|error| SpiceError::Answer { what: error.to_string() })?;
    let mut images = vec![None; num_images];
    for answer in answers {
        if let Some(image) = images.get_mut(answer.image_id) {
            *image = Some(answer.scores.all.f);
        }
    }
    let images: Option<Vec<f64>> = images.into_iter().collect();
    images
        .map(Scores::of_mean)
        .ok_or_else(|| SpiceError::Answer { what: format!("fewer images than the {num_images} requested") })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A shell script in Java's place, called `java -jar -Xmx8G JAR IN -out OUT -subset -silent`.
    fn run_with(script: &str) -> Result<Scores, SpiceError> {
        let folder = tempfile::tempdir().unwrap();
        let (java, jar) = (folder.path().join("java"), folder.path().join("spice-1.0.jar"));
        fs::write(&jar, "").unwrap();
        fs::write(&java, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&java, fs::Permissions::from_mode(0o755)).unwrap();
        Spice::new(&jar)
            .unwrap()
            .with_java(&java)
            .score(&["a \"dog\"", "猫"], &[vec!["dog"], vec!["cat", "猫"]])
    }

    #[test]
    fn the_programs_scores_are_read_by_image() {
        let script = r#"grep -q '"refs":\["cat","猫"\]' "$4" || exit 1
            echo '[{"image_id":1,"scores":{"All":{"f":0.25,"pr":1},"Color":null}},
                   {"image_id":0,"scores":{"All":{"f":0.5}}}]' > "$6""#;
        let scores = run_with(script).unwrap();
        assert_eq!(scores, Scores { corpus: 0.375, images: vec![0.5, 0.25] });
    }

    #[test]
    fn failures_are_reported() {
        let script =
            "echo 'Exception in thread \"main\" java.lang.OutOfMemoryError' >&2; echo '  at x' >&2; exit 1";
        let message = run_with(script).unwrap_err().to_string();
        assert!(message.contains("OutOfMemoryError") && message.contains("Java 8 to 14"), "{message}");
        assert!(run_with("exit 0").unwrap_err().to_string().contains("without a word"));
        assert!(run_with("echo '[]' > \"$6\"").unwrap_err().to_string().contains("fewer images"));
        assert!(run_with("echo '{' > \"$6\"").is_err());
        let missing = Spice::new(Path::new("no/such.jar")).unwrap_err().to_string();
        assert!(missing.contains("no/such.jar"), "{missing}");
    }
}
