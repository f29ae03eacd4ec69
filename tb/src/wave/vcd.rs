//! VCD from FST.

use vcd::ReferenceIndex;
use wellen::simple::Waveform;
use wellen::{Hierarchy, ScopeRef, ScopeType, SignalRef, SignalValueRef, VarRef};

/// A signal with its VCD id and its value changes.
struct Track {
    signal: SignalRef,
    id: vcd::IdCode,
    width: u32,
}

/// Writes all that the waves hold.
pub(super) fn to_vcd(waves: &mut Waveform, out: impl std::io::Write) -> std::io::Result<()> {
    let mut writer = vcd::Writer::new(out);
    writer.timescale(1, vcd::TimescaleUnit::PS)?;
    let mut tracks: Vec<Track> = Vec::new();
    {
        let hierarchy = waves.hierarchy();
        for scope in hierarchy.scopes() {
            write_scope(hierarchy, "", scope, &mut writer, &mut tracks)?;
        }
    }
    writer.enddefinitions()?;
    let mut signals: Vec<SignalRef> = tracks.iter().map(|track| track.signal).collect();
    signals.dedup();
    waves.load_signals(&signals);
    // All changes in order of time; the order of signals within a time is that of their declaration.
    let mut changes: Vec<(u32, usize)> = Vec::new();
    for (index, track) in tracks.iter().enumerate() {
        if let Some(signal) = waves.get_signal(track.signal) {
            changes.extend(signal.time_indices().iter().map(|time| (*time, index)));
        }
    }
    changes.sort_unstable();
    let mut last = None;
    for (time, index) in changes {
        if last != Some(time) {
            writer.timestamp(waves.time_table()[time as usize])?;
            last = Some(time);
        }
        let track = &tracks[index];
        let Some(signal) = waves.get_signal(track.signal) else {
            continue;
        };
        let Some(offset) = signal.get_offset(time) else {
            continue;
        };
        let value = signal.get_value_at(&offset, 0);
        write_value(&mut writer, track, &value)?;
    }
    writer.flush()
}

fn write_value(
    writer: &mut vcd::Writer<impl std::io::Write>,
    track: &Track,
    value: &SignalValueRef<'_>,
) -> std::io::Result<()> {
    match value {
        SignalValueRef::Real(real) => writer.change_real(track.id, *real),
        SignalValueRef::String(text) => writer.change_string(track.id, text),
        SignalValueRef::Event => Ok(()),
        bits => {
            let text = bits.to_bit_string().unwrap_or_default();
            let bits = text.chars().map(|bit| match bit {
                '0' => vcd::Value::V0,
                '1' => vcd::Value::V1,
                'z' | 'Z' => vcd::Value::Z,
                _ => vcd::Value::X,
            });
            if track.width == 1 {
                for bit in bits.take(1) {
                    writer.change_scalar(track.id, bit)?;
                }
                Ok(())
            } else {
                writer.change_vector(track.id, bits)
            }
        }
    }
}

/// Writes a scope and what is in it. A dimension of an array is a scope that is called by its index alone: readers of
/// VCD want a name before that, which is the name `above` it.
fn write_scope(
    hierarchy: &Hierarchy,
    above: &str,
    scope: ScopeRef,
    writer: &mut vcd::Writer<impl std::io::Write>,
    tracks: &mut Vec<Track>,
) -> std::io::Result<()> {
    let scope = &hierarchy[scope];
    let kind = match scope.scope_type() {
        ScopeType::Task => vcd::ScopeType::Task,
        ScopeType::Function => vcd::ScopeType::Function,
        ScopeType::Begin => vcd::ScopeType::Begin,
        ScopeType::Fork => vcd::ScopeType::Fork,
        // VCD knows no others; packages and structs are shown as modules.
        _ => vcd::ScopeType::Module,
    };
    let name = match scope.name(hierarchy) {
        index if index.starts_with('[') => format!("{above}{index}"),
        name => name.to_string(),
    };
    writer.scope_def(kind, &name)?;
    for var in scope.vars(hierarchy) {
        write_var(hierarchy, &name, var, writer, tracks)?;
    }
    for inner in scope.scopes(hierarchy) {
        write_scope(hierarchy, &name, inner, writer, tracks)?;
    }
    writer.upscope()
}

fn write_var(
    hierarchy: &Hierarchy,
    scope: &str,
    var: VarRef,
    writer: &mut vcd::Writer<impl std::io::Write>,
    tracks: &mut Vec<Track>,
) -> std::io::Result<()> {
    let var = &hierarchy[var];
    let width = var.length(hierarchy).unwrap_or(1);
    let kind = if var.is_real(hierarchy) {
        vcd::VarType::Real
    } else {
        vcd::VarType::Wire
    };
    // So is an element of an array, or by nothing.
    let name = match var.name(hierarchy) {
        index if index.is_empty() || index.starts_with('[') => format!("{scope}{index}"),
        name => name.to_string(),
    };
    let range = var.index().map(|index| (index.msb(), index.lsb()));
    let (msb, lsb) = range.unwrap_or((i64::from(width) - 1, 0));
    let range = (width > 1).then_some(ReferenceIndex::Range(msb as i32, lsb as i32));
    let id = writer.add_var(kind, width, &name, range)?;
    tracks.push(Track {
        signal: var.signal_ref(),
        id,
        width,
    });
    Ok(())
}
