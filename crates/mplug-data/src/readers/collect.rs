//! Annotations under their ids, in the order in which they first appear.

use std::collections::HashMap;
use std::path::Path;

use crate::annotation::{Annotation, PictureId};
use crate::error::{DataError, Place};

/// The annotations of a file while it is read.
#[derive(Default)]
pub(super) struct Collector {
    records: Vec<Annotation>,
    by_id: HashMap<PictureId, usize>,
}

impl Collector {
    /// The annotation of `id`, if there is one yet.
    pub(super) fn get(&mut self, id: &PictureId) -> Option<&mut Annotation> {
        self.by_id.get(id).map(|index| &mut self.records[*index])
    }

    /// The annotation of `id`, made at `place` if there is none yet.
    pub(super) fn entry(&mut self, id: &PictureId, place: Place) -> &mut Annotation {
        let index = *self.by_id.entry(id.clone()).or_insert(self.records.len());
        if index == self.records.len() {
            self.records.push(Annotation::new(id.clone(), place));
        }
        &mut self.records[index]
    }

    /// Adds an annotation whose id must be new.
    pub(super) fn insert(&mut self, path: &Path, annotation: Annotation) -> Result<(), DataError> {
        if let Some(known) = self.get(&annotation.id) {
            let (id, first, second) = (known.id.clone(), known.place, annotation.place);
            return Err(DataError::Duplicate { path: path.to_path_buf(), id, first, second });
        }
        self.by_id.insert(annotation.id.clone(), self.records.len());
        self.records.push(annotation);
        Ok(())
    }

    pub(super) fn into_records(self) -> Vec<Annotation> {
        self.records
    }
}

/// Refuses a file in which some pictures have references and others have none. A file without any is a list of
/// pictures to be captioned, such as COCO's `image_info_test2014.json`.
pub(super) fn all_or_none_have_references(path: &Path, records: &[Annotation]) -> Result<(), DataError> {
    let is_bare = |annotation: &&Annotation| annotation.references.is_empty();
    match records.iter().find(is_bare) {
        Some(bare) if !records.iter().all(|annotation| is_bare(&annotation)) => {
            Err(DataError::annotation(path, bare.place, format!("the picture {} has no caption", bare.id)))
        }
        _ => Ok(()),
    }
}
