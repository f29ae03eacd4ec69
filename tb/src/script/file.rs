//! Files of a script.

use std::sync::Arc;

use rhai::{Dynamic, Engine};

use super::args::{difference, length, words};
use super::error::{FAILED, ORACLE, Result, errno, invalid, throw};
use super::session::Session;
use super::step::{Handle, calls};
use crate::oracle::{Data, Outcome};
use crate::world::World;

/// A file, as scripts hold it.
#[derive(Clone)]
pub struct File {
    world: Arc<World>,
    file: Arc<hmm_core::File>,
    /// The oracle's name for it.
    id: u64,
}

impl Handle for File {
    fn world(&self) -> &Arc<World> {
        &self.world
    }
}

impl File {
    fn new(world: Arc<World>, len: u64) -> Self {
        let file = hmm_core::File::new(&world.system, len);
        let id = world.oracle.file(len);
        Self { world, file, id }
    }

    /// The file that an option gives.
    pub(super) fn of(call: &str, value: &Dynamic) -> Result<Self> {
        let kind = value.type_name();
        value
            .clone()
            .try_cast::<Self>()
            .ok_or_else(|| invalid(call, format!("file: expected a file, got {kind}")))
    }

    pub(super) fn inner(&self) -> &Arc<hmm_core::File> {
        &self.file
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    fn fill(&mut self, offset: i64, len: i64, first: i64) -> Result<()> {
        let call = "f.fill";
        let (offset, len) = range(call, offset, len)?;
        let Data::Bytes(bytes) = Data::pattern(len, first as u64) else {
            return Ok(());
        };
        let oracle = &self.world.oracle;
        // A write beyond the end makes the file longer.
        if len > 0 && offset + len > self.file.len() {
            oracle.end_resize(oracle.begin_resize(self.id, offset + len));
        }
        let data = Data::Bytes(bytes.clone());
        let ticket = oracle.begin_write(self.id, offset, len, data);
        let done = self.file.write(offset, &bytes);
        let outcome = if done.is_ok() {
            Outcome::Done
        } else {
            Outcome::Partial
        };
        oracle.end_write(ticket, outcome);
        if done.is_err() {
            oracle.end_resize(oracle.begin_resize(self.id, self.file.len()));
        }
        done.map_err(|e| errno(call, e))
    }

    fn check(&mut self, offset: i64, len: i64, first: i64) -> Result<()> {
        let call = "f.check";
        let (offset, len) = range(call, offset, len)?;
        let Data::Bytes(want) = Data::pattern(len, first as u64) else {
            return Ok(());
        };
        let mut got = vec![0; want.len()];
        let ticket = self.world.oracle.begin_read(self.id, offset, len);
        let read = self.file.read(offset, &mut got);
        match read {
            Ok(count) if count == got.len() => {
                if let Err(mismatch) = self.world.oracle.end_read(ticket, &got) {
                    return Err(throw(call, ORACLE, self.world.fail(&mismatch)));
                }
                match difference(offset, &want, &got) {
                    Some(text) => Err(throw(call, FAILED, text)),
                    None => Ok(()),
                }
            }
            Ok(count) => {
                self.world.oracle.abandon(ticket);
                let end = offset + count as u64;
                Err(throw(call, FAILED, format!("the file ends at {end:#x}")))
            }
            Err(e) => {
                self.world.oracle.abandon(ticket);
                Err(errno(call, e))
            }
        }
    }

    fn truncate(&mut self, len: i64) -> Result<()> {
        let call = "f.truncate";
        let len = length(call, len)?;
        let resize = self.world.oracle.begin_resize(self.id, len);
        let done = self.file.truncate(len);
        self.world.oracle.end_resize(resize);
        done.map_err(|e| errno(call, e))
    }

    fn size(&mut self) -> Result<i64> {
        Ok(self.file.len() as i64)
    }

    fn cached(&mut self) -> Result<i64> {
        Ok(self.file.cached_pages() as i64)
    }
}

/// A range of 64-bit words of a file.
fn range(call: &str, offset: i64, len: i64) -> Result<(u64, u64)> {
    let offset = length(call, offset)?;
    words(call, offset as i64, len)
}

/// Registers `file` and the calls of files.
pub fn register(engine: &mut Engine, session: &Arc<Session>) {
    engine.register_type_with_name::<File>("File");
    let of = Arc::clone(session);
    engine.register_fn("file", move |len: i64| -> Result<File> {
        let call = "file";
        let len = length(call, len)?;
        Ok(File::new(of.world(call)?, len))
    });
    calls!(engine, File, "f":
        "fill"(offset: i64, len: i64, first: i64) => File::fill;
        "check"(offset: i64, len: i64, first: i64) => File::check;
        "truncate"(len: i64) => File::truncate;
        "size"() => File::size;
        "cached"() => File::cached;
    );
}
