// SPDX-License-Identifier: Apache-2.0
//! Lines into a file and out of it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Changed;

/// What the lines mean. A file of another version counts for nothing.
const VERSION: u32 = 1;
/// A file that has grown to twice what it needs, and by so many bytes, is written anew.
const SLACK: u64 = 4 << 20;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    ferrule: u32,
    node: String,
}

impl Header {
    pub(super) fn new(node: &str) -> Self {
        Self {
            ferrule: VERSION,
            node: node.to_owned(),
        }
    }
}

/// Any other line.
#[derive(Debug, Serialize, Deserialize)]
struct Entry<T> {
    kind: String,
    name: String,
    /// None: it is gone.
    object: Option<T>,
}

/// The file that is written.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    header: Header,
    file: Option<File>,
    /// Whether what is written has taken the old file's place.
    in_place: bool,
    /// Bytes of the file, and when it was written anew.
    size: u64,
    base: u64,
}

impl Log {
    pub(super) fn new(path: PathBuf, header: Header) -> Self {
        Self {
            path,
            header,
            file: None,
            in_place: false,
            size: 0,
            base: 0,
        }
    }

    fn new_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".new");
        path.into()
    }

    /// Appends what has changed. `complete`: everything that is there has been written hereby;
    /// `current`: the API server would tell of changes.
    ///
    /// # Errors
    /// Those of the file system. Then the same has to be written again.
    pub(super) fn write(
        &mut self,
        changed: &Changed,
        complete: bool,
        current: bool,
    ) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.begin()?,
        };
        let lines = changed.iter().map(|((kind, name), line)| {
            let entry = Entry {
                kind: (*kind).to_owned(),
                name: name.clone(),
                object: line.as_ref().and_then(|line| line.to_json()).map(pruned),
            };
            serde_json::to_string(&entry)
        });
        let appended = append(&mut file, lines);
        if appended.is_err() {
            // Ends a line that is torn, if that is possible at all.
            let _ = file.write_all(b"\n");
        }
        self.file = Some(file);
        self.size += appended?;
        if complete && !self.in_place {
            self.put_in_place()?;
        }
        if self.in_place && self.size > 2 * self.base + SLACK {
            self.compact()?;
        }
        if self.in_place && current {
            self.touch()?;
        }
        Ok(())
    }

    /// A file with nothing but its header.
    fn begin(&mut self) -> io::Result<File> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = create(&self.new_path())?;
        self.size = append(&mut file, [serde_json::to_string(&self.header)])?;
        self.in_place = false;
        Ok(file)
    }

    fn put_in_place(&mut self) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.sync_data()?;
        }
        fs::rename(self.new_path(), &self.path)?;
        self.in_place = true;
        self.base = self.size;
        Ok(())
    }

    /// Leaves the newest line of each object only.
    fn compact(&mut self) -> io::Result<()> {
        let newest = newest(&self.path, &self.header)?;
        let header = serde_json::to_string(&self.header);
        let lines = newest.lines.into_values().filter(|line| !line.gone);
        let mut file = create(&self.new_path())?;
        let size = append(
            &mut file,
            [header].into_iter().chain(lines.map(|line| Ok(line.text))),
        )?;
        file.sync_data()?;
        fs::rename(self.new_path(), &self.path)?;
        (self.file, self.size, self.base) = (Some(file), size, size);
        Ok(())
    }

    /// The file is as new as it gets.
    fn touch(&self) -> io::Result<()> {
        match &self.file {
            Some(file) => file.set_modified(Timestamp::now().into()),
            None => Ok(()),
        }
    }
}

/// Writes lines; how many bytes.
fn append(
    file: &mut File,
    lines: impl IntoIterator<Item = serde_json::Result<String>>,
) -> io::Result<u64> {
    let mut out = BufWriter::new(file);
    let mut size = 0;
    for line in lines {
        let line = line?;
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
        size += line.len() as u64 + 1;
    }
    out.flush()?;
    Ok(size)
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Without what says nothing.
fn pruned(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().map(|(key, value)| (key, pruned(value)));
            Value::Object(kept.filter(|(_, value)| !is_empty(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(pruned).collect()),
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The newest lines of a file.
#[derive(Debug, Default)]
pub(super) struct Newest {
    pub(super) lines: HashMap<(String, String), NewestLine>,
    /// Lines that make no sense: the last one, if the machine failed while it was written.
    pub(super) unreadable: usize,
    /// When it was known to be current.
    pub(super) saved: Option<SystemTime>,
}

#[derive(Debug)]
pub(super) struct NewestLine {
    text: String,
    gone: bool,
}

impl NewestLine {
    /// The object.
    pub(super) fn object<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        let entry: Entry<T> = serde_json::from_str(&self.text).ok()?;
        entry.object
    }
}

/// Reads a file. That of another version or node is as good as none.
pub(super) fn newest(path: &Path, header: &Header) -> io::Result<Newest> {
    let file = File::open(path)?;
    let saved = file.metadata()?.modified().ok();
    let newest = newest_of(BufReader::new(file), header)?;
    Ok(Newest { saved, ..newest })
}

/// The same of what is in one.
pub(super) fn newest_of(file: impl BufRead, header: &Header) -> io::Result<Newest> {
    let mut lines = file.split(b'\n');
    let first = lines.next().transpose()?.unwrap_or_default();
    if serde_json::from_slice::<Header>(&first).ok().as_ref() != Some(header) {
        let reason = "it is of another node or version";
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let mut newest = Newest::default();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            continue;
        }
        let Ok(entry) = serde_json::from_slice::<Entry<&RawValue>>(&line) else {
            newest.unreadable += 1;
            continue;
        };
        let kept = NewestLine {
            gone: entry.object.is_none(),
            text: String::from_utf8_lossy(&line).into_owned(),
        };
        newest.lines.insert((entry.kind, entry.name), kept);
    }
    Ok(newest)
}
