//! How copies of pages are put into descriptors: neighbours as one run, runs as one list.

use crate::mem::DevPa;
use hmm_core::PAGE_SIZE;
use hmmu_regs::CopySegment;

/// Where the bytes of a page come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Another page.
    Page(DevPa),
    /// Zeros.
    Zero,
}

/// Pages with consecutive addresses to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageCopy {
    /// The first page.
    pub dst: DevPa,
    /// Its new content.
    pub src: Source,
    /// How many.
    pub pages: usize,
}

/// Copies of consecutive addresses, done by one descriptor.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// The first one in the list.
    pub first: usize,
    /// How many copies.
    pub items: usize,
    /// How many pages.
    pub pages: usize,
}

/// Runs that one descriptor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// The first one among the runs.
    pub first: usize,
    /// How many.
    pub runs: usize,
}

/// Most pages in one run that single pages are joined to, and in one list: a long descriptor delays everybody
/// behind it.
const RUN_PAGES: usize = 16;
const LIST_PAGES: usize = 64;
/// Most runs in one list.
pub(crate) const LIST_RUNS: usize = 32;

/// Groups copies whose sources and destinations follow each other. Long ones stay alone.
pub(crate) fn runs_of(list: &[PageCopy]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (i, copy) in list.iter().enumerate() {
        if let Some(run) = runs.last_mut() {
            let bytes = run.pages as u64 * PAGE_SIZE;
            let first = list[run.first];
            let follows = match (first.src, copy.src) {
                (Source::Page(a), Source::Page(b)) => a.add(bytes) == b,
                (Source::Zero, Source::Zero) => true,
                _ => false,
            };
            let short = run.pages + copy.pages <= RUN_PAGES;
            if follows && first.dst.add(bytes) == copy.dst && short {
                run.pages += copy.pages;
                run.items += 1;
                continue;
            }
        }
        runs.push(Run {
            first: i,
            items: 1,
            pages: copy.pages,
        });
    }
    runs
}

/// Groups runs that share a descriptor, at most `most` of them.
pub(crate) fn groups_of(runs: &[Run], most: usize) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut pages = 0;
    for (i, run) in runs.iter().enumerate() {
        if let Some(group) = groups.last_mut()
            && group.runs < most
            && pages + run.pages <= LIST_PAGES
        {
            group.runs += 1;
            pages += run.pages;
            continue;
        }
        groups.push(Group { first: i, runs: 1 });
        pages = run.pages;
    }
    groups
}

/// The segment for pages that follow each other.
pub(crate) fn segment(first: PageCopy, pages: usize) -> CopySegment {
    let segment = CopySegment::default()
        .with_dst(first.dst.0)
        .with_len(pages as u64 * PAGE_SIZE);
    match first.src {
        Source::Page(src) => segment.with_src(src.0),
        Source::Zero => segment.with_fill(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_what_a_descriptor_may_delay() {
        let run = |pages| Run {
            first: 0,
            items: 1,
            pages,
        };
        let sizes = |pages: &[usize], most| -> Vec<usize> {
            let runs: Vec<Run> = pages.iter().map(|n| run(*n)).collect();
            groups_of(&runs, most).iter().map(|g| g.runs).collect()
        };
        assert_eq!(sizes(&[1; 80], LIST_RUNS), [32, 32, 16]);
        assert_eq!(sizes(&[16, 16, 16, 16, 1, 512, 1], LIST_RUNS), [4, 1, 1, 1]);
        assert_eq!(sizes(&[1; 3], 1), [1, 1, 1]);
        assert_eq!(sizes(&[], LIST_RUNS), [0; 0]);
    }

    #[test]
    fn runs_join_only_pages_that_follow_on_both_sides() {
        let page = |dst: u64, src: Option<u64>, pages| PageCopy {
            dst: DevPa(dst * PAGE_SIZE),
            src: src.map_or(Source::Zero, |s| Source::Page(DevPa(s * PAGE_SIZE))),
            pages,
        };
        let list = [
            page(10, Some(1), 1),
            page(11, Some(2), 1),
            page(12, Some(4), 1),
            page(13, None, 1),
            page(14, None, 1),
            page(16, None, 1),
            page(17, None, 512),
            page(529, None, 1),
        ];
        let lengths: Vec<usize> = runs_of(&list).iter().map(|r| r.pages).collect();
        assert_eq!(lengths, [2, 1, 2, 1, 512, 1]);
    }
}
