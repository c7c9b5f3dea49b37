package trusted

// Shared is the promise not to change what others read, too.
type Shared struct{ promised bool }

// Unchanged gives the promise. Only this module can.
func Unchanged() Shared { return Shared{true} }
