// The word that was meant: this file serves messages about unknown
// flags, commands and settings, and promises silence where no word is near.

package main

import "fmt"

// didYouMean is the part of a message that names the word nearest to typed, or
// "" if more than a third of the letters would have to change.
func didYouMean(typed string, words []string, prefix string) string {
	if len(typed) < 2 || len(typed) > 64 {
		return ""
	}
	best, least := "", max(1, len(typed)/3)+1
	for _, w := range words {
		if d := editDistance(typed, w); d < least {
			best, least = w, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s%s?)", prefix, best)
}

// editDistance counts the letters to insert, delete, replace or swap with their
// neighbour on the way from a to b (optimal string alignment).
func editDistance(a, b string) int {
	var before, above []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, above, row = above, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := above[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(above[j+1]+1, row[j]+1, change)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
