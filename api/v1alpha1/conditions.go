package v1alpha1

// Condition types of an AccessRequest.
const (
	// ConditionPolicyMatched tells which policy decides the request.
	ConditionPolicyMatched = "PolicyMatched"
	// ConditionApproved tells whether the decisions suffice, and whom to ask.
	ConditionApproved = "Approved"
	// ConditionGranted tells whether the access is held.
	ConditionGranted = "Granted"
	// ConditionEnded tells that the request is over, and why.
	ConditionEnded = "Ended"
	// ConditionReviewed tells, where the policy asks for a review, whether somebody
	// looked back at access that has ended, and who may. An AccessGrant carries it too.
	ConditionReviewed = "Reviewed"
)

// Condition types of an AccessGrant.
const (
	// ConditionAccessGiven tells that every binding exists.
	ConditionAccessGiven = "AccessGiven"
	// ConditionAccessRemoved tells that no binding is left, and what the API
	// server answered when the broker asked about the subjects' access.
	ConditionAccessRemoved = "AccessRemoved"
	// ConditionStandingAccess lists access that the subjects hold by other
	// means. An AccessRequest carries it too, from before anybody decides.
	ConditionStandingAccess = "StandingAccess"
	// ConditionAdmissionEnforced tells whether the admission policies were in
	// force when the access was given. Without them only the API server's audit
	// log knows who really asked and who really decided.
	ConditionAdmissionEnforced = "AdmissionEnforced"
	// ConditionTaskWatched is there, and False, while nobody can tell whether the
	// task is over: completeWhen errs, or the broker cannot read the task. The
	// access then lasts to its deadline. An AccessRequest carries it too.
	ConditionTaskWatched = "TaskWatched"
	// ConditionExpiresSoon is there, and True, in the last minutes before the deadline
	// of access that is held. An AccessRequest carries it too.
	ConditionExpiresSoon = "ExpiresSoon"
	// ConditionSuspicious is there, and True, when the access was used in a way that
	// its policy calls suspicious.
	ConditionSuspicious = "Suspicious"
	// ConditionUsed tells, after the end, whether the access was used, and in which
	// window that was observed. Unknown means that nobody observed it.
	ConditionUsed = "Used"
	// ConditionLeftBehind tells, after the end, what was created with the access and
	// is still there.
	ConditionLeftBehind = "LeftBehind"
	// ConditionSessionsOpen tells, after the end, which sessions outlived the access,
	// and the commands that end them.
	ConditionSessionsOpen = "SessionsOpen"
)

// ConditionReady tells whether an AccessPolicy can be used, with all its roles.
const ConditionReady = "Ready"

// Reasons of conditions. When a request is over, the reason of its condition
// Ended is the grant's EndReason or one of these.
const (
	// ReasonMatched: a policy allows the request.
	ReasonMatched = "Matched"
	// ReasonNoPolicy: no policy allows the request.
	ReasonNoPolicy = "NoPolicyAllows"
	// ReasonPolicyNotReady: a policy that might allow it cannot be used now.
	ReasonPolicyNotReady = "PolicyNotReady"
	// ReasonInvalid: the request cannot be granted as it is written.
	ReasonInvalid = "Invalid"
	// ReasonRoleNotFound: the role does not exist.
	ReasonRoleNotFound = "RoleNotFound"
	// ReasonNamespaceNotFound: a namespace does not exist.
	ReasonNamespaceNotFound = "NamespaceNotFound"
	// ReasonSubjectNotFound: a ServiceAccount does not exist.
	ReasonSubjectNotFound = "SubjectNotFound"
	// ReasonNeverGrantable: the rules ask for something that is never granted.
	ReasonNeverGrantable = "NeverGrantable"
	// ReasonNotSupported: the broker does not do this.
	ReasonNotSupported = "NotSupported"
	// ReasonWaitingForRole and the next two: a new request waits for an object
	// that is not there, because it may be on its way.
	ReasonWaitingForRole           = "WaitingForRole"
	ReasonWaitingForNamespace      = "WaitingForNamespace"
	ReasonWaitingForServiceAccount = "WaitingForServiceAccount"
	// ReasonWaitingForPolicy: no policy is about the request.
	ReasonWaitingForPolicy = "WaitingForPolicy"
	// ReasonWaitingForPermission: the broker may not bind the role, write the
	// rules or read the task.
	ReasonWaitingForPermission = "WaitingForPermission"
	// ReasonWaitingForKind: the API server does not know the kind of the task.
	ReasonWaitingForKind = "WaitingForKind"
	// ReasonNotExtendable: the access that a request asks more time of is not held, or
	// not by its requester, or cannot be extended.
	ReasonNotExtendable = "NotExtendable"
	// ReasonDeadline: the deadline comes.
	ReasonDeadline = "Deadline"
	// ReasonExtended: another grant has taken the place of this one, and its end is
	// the moment to look back.
	ReasonExtended = "Extended"
	// ReasonTooManyPending: the requester has too many requests waiting for
	// decisions.
	ReasonTooManyPending = "TooManyPending"
	// ReasonWaitingForApproval: approvals are missing.
	ReasonWaitingForApproval = "WaitingForApproval"
	// ReasonWaitingForStart: approved, and startTime has not come.
	ReasonWaitingForStart = "WaitingForStartTime"
	// ReasonWaitingForTask: the task does not exist yet, or is held back.
	ReasonWaitingForTask = "WaitingForTask"
	// ReasonGrantedBefore: a request of this name and content was granted, and the
	// broker deleted it when its retention was over.
	ReasonGrantedBefore = "GrantedBefore"
	// ReasonTaskOver: the task was over before the grant.
	ReasonTaskOver = "TaskOver"
	// ReasonCompleteWhenErrs: completeWhen cannot be evaluated.
	ReasonCompleteWhenErrs = "CompleteWhenErrs"
	// ReasonTaskUnreadable: the broker may no longer read the task.
	ReasonTaskUnreadable = "TaskUnreadable"
	// ReasonTaskNotServed: the API server serves no version of the task's kind.
	ReasonTaskNotServed = "TaskKindNotServed"
	// ReasonApproved: there are enough approvals.
	ReasonApproved = "Approved"
	// ReasonDenied: an approver said no.
	ReasonDenied = "Denied"
	// ReasonWithdrawn: the requester withdrew the request.
	ReasonWithdrawn = "Withdrawn"
	// ReasonLapsed: nobody decided in time.
	ReasonLapsed = "NotDecidedInTime"
	// ReasonGranted: the access is given.
	ReasonGranted = "Granted"
	// ReasonVerified: the broker asked the API server, and the access is gone.
	ReasonVerified = "Verified"
	// ReasonRemovalRefused: the access is over, and the API server lets nobody take
	// it away.
	ReasonRemovalRefused = "RemovalRefused"
	// ReasonOtherBindings: the subjects hold access by other means.
	ReasonOtherBindings = "OtherBindings"
	// ReasonOtherGrants: the subjects hold access by other grants, each with an end
	// of its own.
	ReasonOtherGrants = "OtherGrants"
	// ReasonEnforced: every admission policy is installed and bound.
	ReasonEnforced = "Enforced"
	// ReasonNotEnforced: an admission policy is missing, changed or not bound.
	ReasonNotEnforced = "NotEnforced"
	// ReasonSuspiciousUse: a suspicious use of the access was observed.
	ReasonSuspiciousUse = "SuspiciousUse"
	// ReasonUsed: calls were observed.
	ReasonUsed = "Used"
	// ReasonNotUsed: no call was observed in the whole time of the access.
	ReasonNotUsed = "NotUsed"
	// ReasonNotObserved: nobody observed the usage, or not all of it.
	ReasonNotObserved = "NotObserved"
	// ReasonObjectsExist: objects that were created with the access still exist.
	ReasonObjectsExist = "ObjectsExist"
	// ReasonNotKnown: the broker cannot tell whether they still exist.
	ReasonNotKnown = "NotKnown"
	// ReasonOpen: sessions are open.
	ReasonOpen = "Open"
	// ReasonEvicted: the Pods of the sessions were evicted.
	ReasonEvicted = "Evicted"
	// ReasonNone: nothing was found.
	ReasonNone = "None"
	// ReasonWaitingForReview: the access has ended, and there is time to look back.
	ReasonWaitingForReview = "WaitingForReview"
	// ReasonReviewOverdue: nobody looked back in time. It is also why a request is
	// refused: its requester gets nothing more under the policy before that is done.
	ReasonReviewOverdue = "ReviewOverdue"
	// ReasonReviewed: somebody looked back.
	ReasonReviewed = "Reviewed"
	// ReasonRequestGone: nobody can look back any more, because the request is gone.
	ReasonRequestGone = "RequestGone"
	// ReasonCompiles: the policy compiles.
	ReasonCompiles = "Compiles"
	// ReasonDeleted: the policy was deleted, and a finalizer keeps the object.
	ReasonDeleted = "Deleted"
	// ReasonDoesNotCompile: the policy does not compile.
	ReasonDoesNotCompile = "DoesNotCompile"
	// ReasonRoleNotGrantable: a role of the policy does not exist, or the broker
	// may not bind it. The rest of what the policy allows can be granted.
	ReasonRoleNotGrantable = "RoleNotGrantable"
	// ReasonNotConfirmed: nobody but its authors has agreed to the policy as it is.
	ReasonNotConfirmed = "NotConfirmed"
	// ReasonPolicyReviewOverdue: the reviewBy of the policy has passed.
	ReasonPolicyReviewOverdue = "ReviewOverdue"
	// ReasonPolicyReviewSoon: the reviewBy of the policy is near; it can be used.
	ReasonPolicyReviewSoon = "ReviewDueSoon"
)

// AnnotationChangedBy names the users who changed the spec of an AccessPolicy since
// it was last confirmed, one a line. The API server stamps it where
// config/components/four-eyes is installed.
const AnnotationChangedBy = "jit.accessbroker.dev/changed-by"

// LabelGrant marks every object that belongs to a grant; its value is the
// grant's name.
const LabelGrant = "jit.accessbroker.dev/grant"

// LabelForgotten marks a grant whose request the broker deleted when its
// retention was over. Its value stands for the request's name and content.
const LabelForgotten = "jit.accessbroker.dev/forgotten"

// FinalizerRevoke keeps a grant until the broker has taken its access away.
const FinalizerRevoke = "jit.accessbroker.dev/revoke"

// GrantsNamespace holds the ServiceAccounts of issued credentials, one a grant, and
// nothing else: the admission policies keep it closed.
const GrantsNamespace = "access-broker-grants"
