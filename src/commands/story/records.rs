//! The records of the story: real ones from a folder, or small made-up ones.

use super::StoryError;
use std::{fs, path::Path};

/// Largest record that the story reads.
const RECORD_BYTES: u64 = 64 * 1024 * 1024;

/// A record of the story.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// What people call it; it never leaves this process.
    pub name: String,
    /// Its media type.
    pub media_type: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Media types by the end of a file's name; the first record of the story is of the first kind found.
const KINDS: [(&str, &str); 6] = [
    (".dcm", "application/dicom"),
    (".nii.gz", "application/x-nifti"),
    (".edf", "application/edf"),
    (".fhir.json", "application/fhir-json"),
    (".hl7", "application/hl7-v2"),
    (".vcf", "text/x-vcf"),
];

/// The records in a folder, one of each kind, or the made-up ones.
///
/// # Errors
/// [`StoryError::Samples`] when the folder cannot be read or holds no record of a known kind.
pub(crate) fn records(folder: Option<&Path>) -> Result<Vec<Record>, StoryError> {
    let Some(folder) = folder else { return Ok(made_up()) };
    let failed = |reason: String| StoryError::Samples { folder: folder.display().to_string(), reason };
    let mut names: Vec<String> = fs::read_dir(folder)
        .map_err(|error| failed(error.to_string()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    let mut records = Vec::new();
    for (ending, media_type) in KINDS {
        let Some(name) = names.iter().find(|name| name.ends_with(ending)) else { continue };
        let path = folder.join(name);
        let len = fs::metadata(&path).map_err(|error| failed(error.to_string()))?.len();
        if len > RECORD_BYTES {
            return Err(failed(format!("`{name}` is larger than {RECORD_BYTES} bytes")));
        }
        let bytes = fs::read(&path).map_err(|error| failed(error.to_string()))?;
        records.push(Record { name: name.clone(), media_type, bytes });
    }
    if records.is_empty() { Err(failed("no record of a known kind".to_owned())) } else { Ok(records) }
}

fn made_up() -> Vec<Record> {
    let record = |name: &str, media_type, text: &str| Record {
        name: name.to_owned(),
        media_type,
        bytes: text.as_bytes().to_vec(),
    };
    vec![
        record(
            "patient.fhir.json",
            "application/fhir-json",
            r#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Observation","status":"final","code":{"text":"Heart rate"},"valueQuantity":{"value":72,"unit":"/min"}}}]}"#,
        ),
        record(
            "result.hl7",
            "application/hl7-v2",
            "MSH|^~\\&|LAB|CITY|EHR|CITY|20260101120000||ORU^R01|1|P|2.5.1\rOBX|1|NM|718-7^Hemoglobin^LN||13.5|g/dL|12-16|N|||F\r",
        ),
        record(
            "variants.vcf",
            "text/x-vcf",
            "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n20\t14370\t.\tG\tA\t29\tPASS\tDP=14\n",
        ),
    ]
}
