//! Columns for people.

use std::io::{self, Write};

/// Writes rows below a head, each column as wide as the widest of its cells.
pub(super) fn write<const N: usize>(
    out: &mut impl Write,
    head: [&str; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(head[column].len())
    });
    write_row(out, &head, &widths)?;
    for row in rows {
        write_row(out, &row.each_ref().map(String::as_str), &widths)?;
    }
    Ok(())
}

fn write_row(out: &mut impl Write, cells: &[&str], widths: &[usize]) -> io::Result<()> {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        line += &format!("{cell:width$}  ");
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let mut out = Vec::new();
        let rows = [
            ["a".to_owned(), String::new(), "1".to_owned()],
            ["größer".to_owned(), "x".to_owned(), String::new()],
        ];
        write(&mut out, ["NAME", "B", "C"], &rows).unwrap();
        let lines = "NAME    B  C\na          1\ngrößer  x\n";
        assert_eq!(String::from_utf8(out).unwrap(), lines);
    }
}
