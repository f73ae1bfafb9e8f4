//! Where the boxes stand: in columns, clients left of their servers, each beside those it talks to.

/// Of a box.
pub(super) const WIDTH: i32 = 168;
/// Of a box.
pub(super) const HEIGHT: i32 = 38;
/// From one column to the next, and from one box to the next below it.
const STEP: (i32, i32) = (WIDTH + 96, HEIGHT + 18);
/// Around everything; a line of a box to itself stands above it.
const MARGIN: i32 = 28;
/// Sweeps over the columns that bring boxes beside their neighbours.
const SWEEPS: usize = 8;
/// Most boxes of a column, beyond which it goes on in another.
const TALL: usize = 16;

/// Places `n` boxes with lines between them: their upper left corners, and the size of all.
pub(super) fn place(n: usize, lines: &[(usize, usize)]) -> (Vec<(i32, i32)>, i32, i32) {
    let ranks = ranks(n, lines);
    let last = ranks.iter().copied().max().unwrap_or_default();
    let mut columns: Vec<Vec<usize>> = vec![Vec::new(); last + 1];
    for (own, rank) in ranks.iter().enumerate() {
        columns[*rank].push(own);
    }
    for sweep in 0..SWEEPS {
        sort(&mut columns, n, lines, sweep % 2 == 1);
    }
    let split = columns.iter().flat_map(|column| column.chunks(TALL));
    let columns: Vec<_> = split.filter(|column| !column.is_empty()).collect();
    let tallest = columns.iter().map(|column| column.len()).max();
    let tallest = tallest.unwrap_or_default() as i32;
    let mut places = vec![(0, 0); n];
    for (x, column) in columns.iter().enumerate() {
        let above = (tallest - column.len() as i32) * STEP.1 / 2;
        for (y, own) in column.iter().enumerate() {
            places[*own] = (
                MARGIN + x as i32 * STEP.0,
                MARGIN + above + y as i32 * STEP.1,
            );
        }
    }
    let width = 2 * MARGIN + columns.len() as i32 * STEP.0 - (STEP.0 - WIDTH);
    let height = 2 * MARGIN + tallest * STEP.1 - (STEP.1 - HEIGHT);
    (places, width.max(WIDTH), height.max(HEIGHT))
}

/// The column of each box: one right of the rightmost of its clients, where lines that would lead
/// round in a circle do not count.
fn ranks(n: usize, lines: &[(usize, usize)]) -> Vec<usize> {
    let mut next = vec![Vec::new(); n];
    let mut clients = vec![0_usize; n];
    for (from, to) in lines.iter().filter(|(from, to)| from != to) {
        next[*from].push(*to);
        clients[*to] += 1;
    }
    let mut ranks = vec![0; n];
    let mut done = vec![false; n];
    for _ in 0..n {
        // One without clients that are not placed; of a circle, one with the fewest.
        let open = (0..n).filter(|own| !done[*own]);
        let Some(own) = open.min_by_key(|own| (clients[*own], *own)) else {
            break;
        };
        done[own] = true;
        for to in &next[own] {
            clients[*to] = clients[*to].saturating_sub(1);
            if !done[*to] {
                ranks[*to] = ranks[*to].max(ranks[own] + 1);
            }
        }
    }
    ranks
}

/// Sorts each column by where its neighbours stand on the side that was sorted before.
fn sort(columns: &mut [Vec<usize>], n: usize, lines: &[(usize, usize)], back: bool) {
    let mut heights = vec![0.0_f64; n];
    let order: Vec<_> = if back {
        (0..columns.len()).rev().collect()
    } else {
        (0..columns.len()).collect()
    };
    for column in columns.iter() {
        for (y, own) in column.iter().enumerate() {
            heights[*own] = y as f64 - column.len() as f64 / 2.0;
        }
    }
    for at in order {
        let middle = |own: usize| {
            let neighbours = lines.iter().filter_map(|(from, to)| match back {
                false if *to == own => Some(*from),
                true if *from == own => Some(*to),
                _ => None,
            });
            let (sum, count) = neighbours.fold((0.0, 0_u32), |(sum, count), other| {
                (sum + heights[other], count + 1)
            });
            if count == 0 {
                heights[own]
            } else {
                sum / f64::from(count)
            }
        };
        let mut column: Vec<_> = columns[at].iter().map(|own| (middle(*own), *own)).collect();
        column.sort_by(|a, b| a.0.total_cmp(&b.0));
        let half = column.len() as f64 / 2.0;
        for (y, (_, own)) in column.iter().enumerate() {
            heights[*own] = y as f64 - half;
        }
        columns[at] = column.into_iter().map(|(_, own)| own).collect();
    }
}

/// The line from one box to another, as an SVG path.
pub(super) fn curve(from: (i32, i32), to: (i32, i32)) -> String {
    let middle = HEIGHT / 2;
    if from == to {
        let (x, y) = (from.0 + WIDTH / 2, from.1);
        return format!(
            "M{} {y}C{} {} {} {} {} {y}",
            x - 20,
            x - 30,
            y - 26,
            x + 30,
            y - 26,
            x + 20
        );
    }
    if from.0 < to.0 {
        let (x1, y1, x2, y2) = (from.0 + WIDTH, from.1 + middle, to.0 - 3, to.1 + middle);
        let bend = ((x2 - x1) / 2).max(40);
        return format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2 - bend);
    }
    // Back, or within a column: around on the left.
    let (x1, y1, x2, y2) = (from.0, from.1 + middle + 6, to.0 - 3, to.1 + middle + 6);
    if from.0 == to.0 {
        return format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 - 48, x2 - 48);
    }
    let x2 = to.0 + WIDTH + 3;
    let bend = ((x1 - x2) / 2).max(40);
    format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 - bend, x2 + bend)
}
