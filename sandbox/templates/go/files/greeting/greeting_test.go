package greeting

import (
	"testing"
	"time"
)

func TestFor(t *testing.T) {
	for hour, want := range map[int]string{
		9:  "Good morning, Ada!",
		15: "Good afternoon, Ada!",
		21: "Good evening, Ada!",
	} {
		now := time.Date(2024, time.May, 1, hour, 0, 0, 0, time.UTC)
		if got := For("Ada", now); got != want {
			t.Errorf("at %d:00: got %q, want %q", hour, got, want)
		}
	}
}
