// Package greeting greets people by the hour of the day.
package greeting

import (
	"fmt"
	"time"
)

// For returns a greeting for name that fits the time now.
func For(name string, now time.Time) string {
	part := "evening"
	switch hour := now.Hour(); {
	case hour < 12:
		part = "morning"
	case hour < 18:
		part = "afternoon"
	}
	return fmt.Sprintf("Good %s, %s!", part, name)
}
